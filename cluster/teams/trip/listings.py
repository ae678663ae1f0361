"""What the trip team's tools return: for people as text, for other specialists as tagged structs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from .provider import Flight, Hotel, Restaurant, Sight, Weather, date_text, euros
from .records import SOURCE

NIGHT = dt.timedelta(days=1)

#: What a star is worth when prices are weighed.
WORTH = {1: 0.7, 2: 1.0, 3: 1.5, 4: 2.2, 5: 3.2}


class Flights(msgspec.Struct, frozen=True, kw_only=True, tag="flights"):
    """Flights there and, if asked for, back."""

    origin: str
    destination: str
    #: IANA name of the destination's time zone.
    time_zone: str
    depart: dt.date
    back: dt.date | None
    travellers: int
    #: By departure.
    outbound: tuple[Flight, ...]
    inbound: tuple[Flight, ...]
    source: str = SOURCE

    def __str__(self) -> str:
        lines = [_leg(self.origin, self.destination, self.depart, self.outbound)]
        if self.back is not None:
            lines.append(_leg(self.destination, self.origin, self.back, self.inbound))
        if self.travellers > 1:
            lines.append(f"Prices for each of {self.travellers} travellers.")
        return "\n".join(lines)


class Hotels(msgspec.Struct, frozen=True, kw_only=True, tag="hotels"):
    """Hotels with rooms free, best value first."""

    city: str
    time_zone: str
    check_in: dt.date
    check_out: dt.date
    guests: int
    #: Rooms the guests need.
    rooms: int
    options: tuple[Hotel, ...]
    source: str = SOURCE

    @property
    def nights(self) -> int:
        """Nights of the stay."""
        return (self.check_out - self.check_in).days

    def price(self, hotel: Hotel) -> float:
        """The whole stay, all rooms."""
        return hotel.price_eur * self.nights * self.rooms

    def __str__(self) -> str:
        rooms = f", {self.rooms} rooms" if self.rooms > 1 else ""
        stay = f"{date_text(self.check_in)} to {date_text(self.check_out)}"
        lines = [f"Hotels in {self.city}, {stay} ({count(self.nights, 'night')}{rooms}):"]
        lines += [f"- {hotel}, {euros(self.price(hotel))} in all" for hotel in self.options]
        return "\n".join(lines)


class Sights(msgspec.Struct, frozen=True, kw_only=True, tag="sights"):
    """Sights open during a stay, those that matter most first."""

    city: str
    time_zone: str
    first_day: dt.date | None
    last_day: dt.date | None
    theme: str | None
    options: tuple[Sight, ...]
    #: What the asker must know of the choice.
    note: str | None = None
    source: str = SOURCE

    def __str__(self) -> str:
        when = f", {period(self.first_day, self.last_day)}" if self.first_day and self.last_day else ""
        lines = [f"Sights in {self.city}{when}:", *(f"- {sight}" for sight in self.options)]
        return "\n".join([*lines, self.note] if self.note else lines)


class Restaurants(msgspec.Struct, frozen=True, kw_only=True, tag="restaurants"):
    """Restaurants, open on the day if one was named."""

    city: str
    time_zone: str
    day: dt.date | None
    cuisine: str | None
    options: tuple[Restaurant, ...]
    source: str = SOURCE

    def __str__(self) -> str:
        when = f", {date_text(self.day)}" if self.day else ""
        return "\n".join([f"Restaurants in {self.city}{when}:", *(f"- {option}" for option in self.options)])


class Forecast(msgspec.Struct, frozen=True, kw_only=True, tag="forecast"):
    """The weather, day by day."""

    city: str
    days: tuple[Weather, ...]
    #: What the asker must know of the days.
    note: str | None = None
    source: str = SOURCE

    def __str__(self) -> str:
        return "\n".join([self._told(), self.note] if self.note else [self._told()])

    def _told(self) -> str:
        first = self.days[0]
        if any(str(day) != str(first) for day in self.days):
            return "\n".join([f"Weather in {self.city}:", *(f"- {date_text(day.day)}: {day}" for day in self.days)])
        return f"Weather in {self.city}, {period(first.day, self.days[-1].day)}: {first}"


Listing = Flights | Hotels | Sights | Restaurants | Forecast


def decode(data: Any) -> Listing | None:
    """The listing in a finding's data; None for data of another kind."""
    try:
        listing: Listing = msgspec.convert(data, type=Listing)
    except msgspec.ValidationError:
        return None
    return listing


def value(hotel: Hotel) -> float:
    """What a hotel costs for what its stars are worth: less is better."""
    return hotel.price_eur / WORTH[hotel.stars]


def count(number: int, noun: str) -> str:
    """ "1 night", "2 nights"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def period(first: dt.date, last: dt.date) -> str:
    """One day, or from one to another."""
    return date_text(first) if first == last else f"{date_text(first)} to {date_text(last)}"


def _leg(origin: str, destination: str, day: dt.date, flights: tuple[Flight, ...]) -> str:
    return "\n".join([f"{origin} to {destination}, {date_text(day)}:", *(f"- {flight}" for flight in flights)])
