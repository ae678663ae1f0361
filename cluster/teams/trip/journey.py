"""An itinerary as data: days, times, prices, a total, and what is not in it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import pairwise
from typing import Literal

import msgspec

from metier.topics.messages import Finding

from .candidates import gather
from .listings import Flights, Hotels, Restaurants, Sights, count, period
from .provider import Flight, Hotel, Restaurant, Sight, clock, date_text, euros


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do, with its times where it happens."""

    kind: Literal["flight", "sight", "restaurant"]
    #: As a specialist returned it.
    id: str
    what: str
    start: dt.datetime
    end: dt.datetime
    #: For all who travel.
    price_eur: float

    def __str__(self) -> str:
        later = (self.end.date() - self.start.date()).days
        times = f"{clock(self.start)}-{clock(self.end)}" + (f" ({later:+d} day)" if later else "")
        return f"{times}  {self.what}, {euros(self.price_eur)}"


class Stay(msgspec.Struct, frozen=True, kw_only=True):
    """The hotel."""

    id: str
    what: str
    check_in: dt.date
    check_out: dt.date
    rooms: int
    #: All nights, all rooms.
    price_eur: float

    def __str__(self) -> str:
        nights = count((self.check_out - self.check_in).days, "night")
        rooms = f", {self.rooms} rooms" if self.rooms > 1 else ""
        return f"Hotel: {self.what}, {period(self.check_in, self.check_out)} ({nights}{rooms}), {euros(self.price_eur)}"


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day, its entries by time."""

    date: dt.date
    entries: tuple[Entry, ...]
    weather: str | None = None

    def __str__(self) -> str:
        head = date_text(self.date) + (f": {self.weather}" if self.weather else "")
        return "\n".join([head, *(f"  {entry}" for entry in self.entries)])


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """What it costs, for all who travel."""

    flights_eur: float
    hotel_eur: float
    sights_eur: float
    meals_eur: float
    total_eur: float

    def __str__(self) -> str:
        parts = {
            "flights": self.flights_eur,
            "hotel": self.hotel_eur,
            "sights": self.sights_eur,
            "meals": self.meals_eur,
        }
        told = ", ".join(f"{name} {euros(price)}" for name, price in parts.items() if price)
        total = euros(self.total_eur) if self.total_eur else "€0"
        return f"Total: {total}" + (f" ({told})" if told else "")


class Journey(msgspec.Struct, frozen=True, kw_only=True, tag="itinerary"):
    """The secretary's work."""

    city: str
    people: int
    days: tuple[Day, ...]
    hotel: Stay | None
    total: Total
    #: Possible, not taken.
    left_out: tuple[str, ...]
    #: What was changed of the model's choice, because it was not possible.
    changes: tuple[str, ...]
    #: What does not fit together, and what was not planned.
    notes: tuple[str, ...]
    #: What no specialist returned, and why.
    missing: tuple[str, ...]
    sources: tuple[str, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All days' entries."""
        return tuple(entry for day in self.days for entry in day.entries)

    def __str__(self) -> str:
        when = f", {period(self.days[0].date, self.days[-1].date)}" if self.days else ""
        who = f", {self.people} travellers" if self.people > 1 else ""
        blocks = [f"{self.city or 'Journey'}{when}{who}"]
        blocks += [str(self.hotel)] if self.hotel else []
        blocks += [str(day) for day in self.days]
        blocks += [str(self.total)]
        blocks += [f"Also possible: {'; '.join(self.left_out)}"] if self.left_out else []
        blocks += [f"Changed: {change}." for change in self.changes]
        blocks += [f"Note: {note}." for note in self.notes]
        blocks += [f"Missing: {sentence}" for sentence in self.missing]
        blocks += [f"Times and prices: {', '.join(self.sources)}."] if self.sources else []
        return "\n".join(blocks)


def total(entries: tuple[Entry, ...], hotel: Stay | None) -> Total:
    """The parts and their sum, to the cent."""
    parts = {
        kind: round(sum(entry.price_eur for entry in entries if entry.kind == kind), 2)
        for kind in ("flight", "sight", "restaurant")
    }
    hotel_eur = round(hotel.price_eur, 2) if hotel else 0.0
    return Total(
        flights_eur=parts["flight"],
        hotel_eur=hotel_eur,
        sights_eur=parts["sight"],
        meals_eur=parts["restaurant"],
        total_eur=round(sum(parts.values()) + hotel_eur, 2),
    )


def flight_text(flight: Flight) -> str:
    """A flight as an entry names it."""
    return f"Flight {flight.number}, {flight.origin} to {flight.destination}"


def visit_text(visit: Sight | Restaurant) -> str:
    """A visit as an entry names it."""
    if isinstance(visit, Restaurant):
        return f"Dinner at {visit.name}, {visit.area} ({visit.cuisine})"
    return f"{visit.name}, {visit.area}"


def check(itinerary: Journey, inputs: Mapping[str, Finding]) -> list[str]:
    """What is wrong with an itinerary, as sentences: made-up ids, prices, times, closed days, overlaps, a false sum."""
    records = _records(inputs)
    faults = [fault for entry in itinerary.entries for fault in _entry_faults(entry, records, itinerary.people)]
    faults += _hotel_faults(itinerary.hotel, gather(inputs).hotels)
    ordered = sorted(itinerary.entries, key=lambda entry: entry.start.astimezone(dt.UTC))
    faults += [f"{one.id} and {other.id} overlap" for one, other in pairwise(ordered) if one.end > other.start]
    ids = [entry.id for entry in itinerary.entries]
    faults += [f"{id_} comes {ids.count(id_)} times" for id_ in dict.fromkeys(ids) if ids.count(id_) > 1]
    if itinerary.total != total(itinerary.entries, itinerary.hotel):
        faults.append(f"the total {itinerary.total} is not the sum of its parts")
    return faults


Record = Flight | Sight | Restaurant


def _records(inputs: Mapping[str, Finding]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for listing in gather(inputs).listings:
        if isinstance(listing, Flights):
            records |= {flight.id: flight for flight in (*listing.outbound, *listing.inbound)}
        elif isinstance(listing, Sights | Restaurants):
            records |= {option.id: option for option in listing.options}
    return records


def _entry_faults(entry: Entry, records: Mapping[str, Record], people: int) -> list[str]:
    record = records.get(entry.id)
    if record is None:
        return [f"{entry.id} was returned by no specialist"]
    faults = []
    if abs(entry.price_eur - record.price_eur * people) > 0.005:
        faults.append(f"{entry.id} costs {euros(record.price_eur * people)}, not {euros(entry.price_eur)}")
    if isinstance(record, Flight):
        if (entry.start, entry.end) != (record.departs, record.arrives):
            faults.append(f"{entry.id} flies at other times")
        return faults
    if not record.open_on(entry.start.date()):
        faults.append(f"{entry.id} is closed on {date_text(entry.start.date())}")
    if entry.start.time() < record.opens or entry.end.time() > record.closes or entry.end.date() != entry.start.date():
        faults.append(f"{entry.id} is not open from {clock(entry.start)} to {clock(entry.end)}")
    return faults


def _hotel_faults(stay: Stay | None, hotels: Hotels | None) -> list[str]:
    if stay is None:
        return []
    found: Hotel | None = next((each for each in hotels.options if each.id == stay.id), None) if hotels else None
    if found is None or hotels is None:
        return [f"{stay.id} was returned by no specialist"]
    if (stay.check_in, stay.check_out) != (hotels.check_in, hotels.check_out):
        return [f"{stay.id} was found for other days"]
    if abs(stay.price_eur - hotels.price(found)) > 0.005:
        return [f"{stay.id} costs {euros(hotels.price(found))}, not {euros(stay.price_eur)}"]
    return []
