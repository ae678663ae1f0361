"""What the trip team asks the world: one Protocol, to be put before any real service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from .places import City, Place
from .records import SOURCE

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """One departure."""

    #: Number and day: "MSA204-2026-11-27".
    id: str
    number: str
    carrier: str
    origin: str
    destination: str
    #: With the offset of the place: local times.
    departs: dt.datetime
    arrives: dt.datetime
    minutes: int
    #: One traveller, one way.
    price_eur: float
    source: str = SOURCE

    def __str__(self) -> str:
        later = (self.arrives.date() - self.departs.date()).days
        times = f"{clock(self.departs)}-{clock(self.arrives)}" + (f"{later:+d}" if later else "")
        return f"{self.number} {times} {euros(self.price_eur)}"


class Hotel(msgspec.Struct, frozen=True, kw_only=True):
    """One hotel as it is for a stay."""

    id: str
    city: str
    name: str
    area: str
    stars: int
    #: One room, one night; a room sleeps two.
    price_eur: float
    rooms: int
    #: Rooms free on every night of the stay.
    rooms_free: int = 0
    source: str = SOURCE

    def __str__(self) -> str:
        return f"{self.name}, {self.area} {'★' * self.stars} {euros(self.price_eur)} a night"


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """Something to see."""

    id: str
    city: str
    name: str
    area: str
    opens: dt.time
    closes: dt.time
    closed: tuple[Weekday, ...]
    #: How long a visit takes.
    minutes: int
    #: One adult's ticket.
    price_eur: float
    themes: tuple[str, ...]
    source: str = SOURCE

    def open_on(self, day: dt.date) -> bool:
        """Whether it is open at all on a day."""
        return WEEKDAYS[day.weekday()] not in self.closed

    def __str__(self) -> str:
        return f"{self.name}, {self.area} ({hours(self.opens, self.closes, self.closed)}) {euros(self.price_eur)}"


class Restaurant(msgspec.Struct, frozen=True, kw_only=True):
    """Somewhere to dine."""

    id: str
    city: str
    name: str
    area: str
    cuisine: str
    opens: dt.time
    closes: dt.time
    closed: tuple[Weekday, ...]
    #: One person's dinner.
    price_eur: float
    minutes: int = 105
    source: str = SOURCE

    def open_on(self, day: dt.date) -> bool:
        """Whether it is open at all on a day."""
        return WEEKDAYS[day.weekday()] not in self.closed

    def __str__(self) -> str:
        times = hours(self.opens, self.closes, self.closed)
        return f"{self.name}, {self.area}, {self.cuisine} ({times}) {euros(self.price_eur)} a person"


class Weather(msgspec.Struct, frozen=True, kw_only=True):
    """One day's weather."""

    id: str
    city: str
    day: dt.date
    min_c: int
    max_c: int
    #: Chance of rain, percent.
    rain: int
    #: Where the figures come from: a forecast, or what is typical.
    basis: str
    source: str = SOURCE

    def __str__(self) -> str:
        return f"{self.min_c} to {self.max_c} °C, rain {self.rain} % ({self.basis})"


class Travel(Protocol):
    """A source of travel facts. What is not known is an empty sequence; what fails raises ToolFailed."""

    async def city(self, name: str) -> Place | None:
        """Where a city is."""
        ...

    async def flights(self, origin: City, destination: City, day: dt.date) -> Sequence[Flight]:
        """Departures of a day in the origin, by time."""
        ...

    async def hotels(self, city: City, check_in: dt.date, nights: int) -> Sequence[Hotel]:
        """Hotels with the rooms that are free on every night, full ones too."""
        ...

    async def sights(self, city: City) -> Sequence[Sight]:
        """Sights, those that matter most first."""
        ...

    async def restaurants(self, city: City) -> Sequence[Restaurant]:
        """Restaurants."""
        ...

    async def weather(self, city: City, day: dt.date) -> Weather:
        """The weather of a day."""
        ...


def euros(amount: float) -> str:
    """A sum as people read it: "€84", "€12.50", "free"."""
    if amount == 0:
        return "free"
    return f"€{amount:.0f}" if amount == int(amount) else f"€{amount:.2f}"


def clock(moment: dt.datetime | dt.time) -> str:
    """Hours and minutes: "07:30"."""
    return f"{moment:%H:%M}"


def date_text(day: dt.date) -> str:
    """A day as people read it, in English whatever the locale: "Fri 27 Nov 2026"."""
    return f"{WEEKDAYS[day.weekday()].title()} {day.day} {_MONTHS[day.month - 1]} {day.year}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def hours(opens: dt.time, closes: dt.time, closed: Sequence[str]) -> str:
    """Opening times: "09:00-18:00, closed Tue"."""
    always = opens == dt.time(0) and closes >= dt.time(23, 59)
    open_ = "always open" if always else f"{clock(opens)}-{clock(closes)}"
    return f"{open_}, closed {' '.join(day.title() for day in closed)}" if closed else open_
