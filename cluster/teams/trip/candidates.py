"""What a journey can be made of: the findings of other specialists, few of each, under short ids."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from metier.topics.messages import Finding, State

from .listings import NIGHT, Flights, Forecast, Hotels, Listing, Restaurants, Sights, decode
from .provider import Flight, Hotel, Restaurant, Sight, date_text

FLIGHTS_LIMIT = 3
HOTELS_LIMIT = 3
SIGHTS_LIMIT = 6
RESTAURANTS_LIMIT = 3
#: Days with visits; later ones stay free.
DAYS_LIMIT = 5

Slot = Literal["morning", "afternoon", "evening"]
SLOTS: dict[Slot, tuple[dt.time, dt.time]] = {
    "morning": (dt.time(9, 30), dt.time(13, 0)),
    "afternoon": (dt.time(14, 0), dt.time(18, 30)),
    "evening": (dt.time(19, 0), dt.time(23, 0)),
}
#: From landing to the first visit, and from the last visit to take-off.
SETTLE = dt.timedelta(minutes=90)
LEAVE = dt.timedelta(minutes=150)
#: A flight back leaves at least so long after the flight there has landed.
TURNAROUND = dt.timedelta(hours=1)
#: Later than this is no sensible time to arrive.
ARRIVE_BY = dt.time(20, 0)
#: A last day is worth its morning.
BACK_AFTER = dt.time(14, 0)

T = TypeVar("T")
V = TypeVar("V", Sight, Restaurant)
Visit = Sight | Restaurant
Times = tuple[dt.datetime, dt.datetime]


class Candidates(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the secretary may choose from."""

    flights: Flights | None
    hotels: Hotels | None
    sights: Sights | None
    restaurants: Restaurants | None
    forecast: Forecast | None
    #: By short id: O1, B1, H1, S1, R1.
    outbound: dict[str, Flight]
    back: dict[str, Flight]
    hotel: dict[str, Hotel]
    visits: dict[str, Visit]
    #: First to last, both included; empty if no specialist was told a day.
    days: tuple[dt.date, ...]
    #: What other specialists did not give, and why: whole sentences.
    missing: tuple[str, ...]

    @property
    def listings(self) -> tuple[Listing, ...]:
        """What was given."""
        all_ = (self.flights, self.hotels, self.sights, self.restaurants, self.forecast)
        return tuple(listing for listing in all_ if listing is not None)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the stay."""
        return ZoneInfo(next((each.time_zone for each in self.listings if not isinstance(each, Forecast)), "UTC"))

    @property
    def city(self) -> str:
        """Where the stay is; empty if nobody said."""
        named = (each.destination if isinstance(each, Flights) else each.city for each in self.listings)
        return next(named, "")

    @property
    def people(self) -> int:
        """How many travel: the most any specialist understood."""
        return max(self.flights.travellers if self.flights else 1, self.hotels.guests if self.hotels else 1)

    def open(self, day: dt.date, slot: Slot, arrives: dt.datetime | None, departs: dt.datetime | None) -> list[str]:
        """Ids of the visits possible then; restaurants come first, and in the evening only."""
        fitting = [id_ for id_, visit in self.visits.items() if fit(visit, day, slot, self.zone, arrives, departs)]
        return sorted(fitting, key=lambda id_: id_[0] != "R")

    def slots(self) -> dict[dt.date, dict[Slot, list[str]]]:
        """What is open when, with the flights that leave most time; days and slots without a visit left out."""
        arrives = min((flight.arrives for flight in self.outbound.values()), default=None)
        departs = max((flight.departs for flight in self.back.values()), default=None)
        table: dict[dt.date, dict[Slot, list[str]]] = {}
        for day in self.days[:DAYS_LIMIT]:
            for slot in SLOTS:
                if ids := self.open(day, slot, arrives, departs):
                    table.setdefault(day, {})[slot] = ids
        return table


def gather(inputs: Mapping[str, Finding]) -> Candidates:
    """The candidates in what other specialists found."""
    given, missing = _sorted_out(inputs)
    flights, hotels = _first(given, Flights), _first(given, Hotels)
    sights, restaurants = _first(given, Sights), _first(given, Restaurants)
    if flights and flights.back and not flights.inbound:
        missing.append(f"No flight back on {date_text(flights.back)}.")
    days = _days(flights, hotels, sights, restaurants)
    return Candidates(
        flights=flights,
        hotels=hotels,
        sights=sights,
        restaurants=restaurants,
        forecast=_first(given, Forecast),
        outbound=_named("O", _few(flights.outbound, sensible(flights.outbound)) if flights else ()),
        back=_named("B", _few(flights.inbound, unhurried(flights.inbound)) if flights else ()),
        hotel=_named("H", hotels.options[:HOTELS_LIMIT] if hotels else ()),
        visits={
            **_named("S", _visitable(sights.options if sights else (), days)[:SIGHTS_LIMIT]),
            **_named("R", _visitable(restaurants.options if restaurants else (), days)[:RESTAURANTS_LIMIT]),
        },
        days=days,
        missing=tuple(missing),
    )


def fit(
    visit: Visit, day: dt.date, slot: Slot, zone: ZoneInfo, arrives: dt.datetime | None, departs: dt.datetime | None
) -> Times | None:
    """When a visit can start and end in a part of a day; None if it cannot."""
    if not visit.open_on(day) or (isinstance(visit, Restaurant) and slot != "evening"):
        return None
    first, last = (dt.datetime.combine(day, time, zone) for time in SLOTS[slot])
    start = max(first, dt.datetime.combine(day, visit.opens, zone))
    if arrives is not None:
        start = max(start, _round_up((arrives + SETTLE).astimezone(zone)))
    end = start + dt.timedelta(minutes=visit.minutes)
    if end > min(last, dt.datetime.combine(day, visit.closes, zone)):
        return None
    if departs is not None and end + LEAVE > departs:
        return None
    return start, end


def sensible(flights: Iterable[Flight]) -> list[Flight]:
    """Those that arrive in the day; all of them if none does."""
    flights = list(flights)
    return [flight for flight in flights if dt.time(6) <= flight.arrives.time() <= ARRIVE_BY] or flights


def unhurried(flights: Iterable[Flight]) -> list[Flight]:
    """Those that leave in the afternoon or evening; the last of the day if none does."""
    flights = list(flights)
    late = [flight for flight in flights if flight.departs.time() >= BACK_AFTER]
    return late or sorted(flights, key=lambda flight: flight.departs)[-1:]


def _sorted_out(inputs: Mapping[str, Finding]) -> tuple[list[Listing], list[str]]:
    """What was given, and sentences on what was not."""
    given, missing = [], []
    for node, finding in inputs.items():
        listing = decode(finding.data) if finding.state is State.OK else None
        if listing is not None:
            given.append(listing)
        else:
            noun = _NOUNS.get(finding.specialist) or _NOUNS.get(node, node)
            missing.append(f"No {noun}: {_why(finding).rstrip('. ')}.")
    return given, missing


_NOUNS = {
    "flights": "flights",
    "hotels": "hotels",
    "guide": "sights",
    "restaurants": "restaurants",
    "weather": "weather",
}
_WHY = {
    State.OK: "the answer was in words only",
    State.ESCALATE: "it went to a larger model, which did not answer",
    State.INPUT_REQUIRED: "something was not said",
    State.FAILED: "it failed",
    State.EXPIRED: "the time was up",
    State.CANCELLED: "it was cancelled",
}


def _why(finding: Finding) -> str:
    if finding.missing:
        return f"not said: {', '.join(finding.missing)}"
    return finding.reason or _WHY[finding.state]


def _first(given: Sequence[Listing], kind: type[T]) -> T | None:
    return next((listing for listing in given if isinstance(listing, kind)), None)


def _named(letter: str, records: Sequence[T]) -> dict[str, T]:
    return {f"{letter}{number}": record for number, record in enumerate(records, start=1)}


def _few(flights: Sequence[Flight], good: Sequence[Flight]) -> list[Flight]:
    """Good ones before others, cheap ones before dear ones; shown by departure."""
    ranked = sorted(flights, key=lambda flight: (flight not in good, flight.price_eur, flight.departs))
    return sorted(ranked[:FLIGHTS_LIMIT], key=lambda flight: flight.departs)


def _visitable(visits: Sequence[V], days: Sequence[dt.date]) -> list[V]:
    """Those open on a day of the stay, or all if it has no days."""
    return [visit for visit in visits if not days or any(visit.open_on(day) for day in days)]


def _days(
    flights: Flights | None, hotels: Hotels | None, sights: Sights | None, restaurants: Restaurants | None
) -> tuple[dt.date, ...]:
    """The journey's days: the flights' if there are any, else the hotel's, else the guide's."""
    firsts = (
        flights and flights.depart,
        hotels and hotels.check_in,
        sights and sights.first_day,
        restaurants and restaurants.day,
    )
    lasts = (flights and flights.back, hotels and hotels.check_out, sights and sights.last_day)
    first = next((day for day in firsts if day), None)
    if first is None:
        return ()
    last = max(first, next((day for day in lasts if day), first))
    return tuple(first + number * NIGHT for number in range((last - first).days + 1))


def _round_up(moment: dt.datetime, minutes: int = 5) -> dt.datetime:
    late = (moment - moment.replace(minute=0, second=0, microsecond=0)) % dt.timedelta(minutes=minutes)
    return moment + (dt.timedelta(minutes=minutes) - late) % dt.timedelta(minutes=minutes)
