"""The secretary's tool: the model chooses among what other specialists found, code keeps the choice possible."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from metier.actors.tools.base import Offer, Outcome, Request
from metier.topics.errors import InvalidValue, ToolFailed

from .candidates import DAYS_LIMIT, TURNAROUND, Candidates, Slot, fit, gather
from .journey import Day, Entry, Journey, Stay, flight_text, total, visit_text
from .listings import period
from .provider import Flight, Hotel, Restaurant, Sight, date_text, euros, hours

NAME = "itinerary"

T = TypeVar("T")


class Itinerary:
    """A Tool that makes one journey of flights, a hotel, sights and restaurants."""

    @property
    def name(self) -> str:
        """Its name, as the model reads it."""
        return NAME

    def offer(self, request: Request) -> Offer:
        """Candidates one a line, and for each part of each day only what is open then."""
        candidates = gather(request.inputs)
        return Offer(name=NAME, schema=schema(candidates), brief=brief(candidates))

    async def call(self, said: Mapping[str, Any], request: Request) -> Outcome:
        """The journey chosen. Raises ToolFailed if no specialist gave anything, InvalidValue for an unknown id."""
        candidates = gather(request.inputs)
        if not candidates.listings:
            why = " ".join(candidates.missing) or "no specialist was asked before"
            raise ToolFailed(tool=NAME, reason=f"nothing to plan with. {why}".rstrip("."))
        journey, arguments = arrange(candidates, said)
        return Outcome(text=str(journey), data=msgspec.to_builtins(journey), arguments=arguments)

    async def close(self) -> None:
        """Nothing to free."""


def schema(candidates: Candidates) -> dict[str, Any]:
    """What may be chosen: ids, and null for a part of a day that stays free."""
    properties: dict[str, Any] = {
        key: {"enum": list(choice)}
        for key, choice in (("outbound", candidates.outbound), ("back", candidates.back), ("hotel", candidates.hotel))
        if choice
    }
    for day, slots in candidates.slots().items():
        properties[str(day)] = _object({slot: {"enum": [*ids, None]} for slot, ids in slots.items()})
    return _object(properties)


def brief(candidates: Candidates) -> str:
    """One line a candidate."""
    lines = [NAME]
    lines += [f"{id_} {flight}" for id_, flight in (candidates.outbound | candidates.back).items()]
    lines += [f"{id_} {_hotel_line(hotel)}" for id_, hotel in candidates.hotel.items()]
    lines += [f"{id_} {_visit_line(visit)}" for id_, visit in candidates.visits.items()]
    return "\n".join(lines)


def arrange(candidates: Candidates, said: Mapping[str, Any]) -> tuple[Journey, dict[str, Any]]:
    """The journey of a choice, and the choice as it was understood, in the specialists' own ids."""
    changes: list[str] = []
    outbound = _pick(candidates.outbound, said, "outbound")
    back = _way_back(candidates, outbound, _pick(candidates.back, said, "back"), changes)
    hotel = _pick(candidates.hotel, said, "hotel")
    visits = _visits(candidates, said, outbound, back, changes)
    entries = [_flight_entry(flight, candidates.people) for flight in (outbound, back) if flight]
    entries += [entry for slots in visits.values() for entry in slots.values()]
    stay = _stay(candidates, hotel)
    used = {entry.id for entry in entries}
    journey = Journey(
        city=candidates.city,
        people=candidates.people,
        days=_calendar(candidates, entries),
        hotel=stay,
        total=total(tuple(entries), stay),
        left_out=tuple(visit_text(visit) for visit in candidates.visits.values() if visit.id not in used),
        changes=tuple(changes),
        notes=tuple(_notes(candidates, outbound, hotel)),
        missing=candidates.missing,
        sources=tuple(sorted({listing.source for listing in candidates.listings})),
    )
    chosen = {"outbound": outbound, "back": back, "hotel": hotel}
    arguments: dict[str, Any] = {key: record.id for key, record in chosen.items() if record}
    arguments |= {str(day): {slot: entry.id for slot, entry in slots.items()} for day, slots in visits.items()}
    return journey, arguments


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _hotel_line(hotel: Hotel) -> str:
    return f"{hotel.name} ({hotel.area}) {hotel.stars}★ {euros(hotel.price_eur)}"


def _visit_line(visit: Sight | Restaurant) -> str:
    what = visit.cuisine if isinstance(visit, Restaurant) else f"{visit.minutes} min"
    times = hours(visit.opens, visit.closes, visit.closed)
    return f"{visit.name} ({visit.area}) {what} {euros(visit.price_eur)} {times}"


def _pick(choice: Mapping[str, T], said: Mapping[str, Any], key: str) -> T | None:
    id_ = said.get(key)
    if id_ is None:
        return None
    if id_ not in choice:
        raise InvalidValue(value=id_, kind=f"choice of {key}", reason=f"choose one of {', '.join(choice) or 'none'}")
    return choice[id_]


def _way_back(
    candidates: Candidates, outbound: Flight | None, back: Flight | None, changes: list[str]
) -> Flight | None:
    """The flight back that was chosen, or the next that leaves after the flight there has landed."""
    if back is None or outbound is None or back.departs >= outbound.arrives + TURNAROUND:
        return back
    later = [flight for flight in candidates.back.values() if flight.departs >= outbound.arrives + TURNAROUND]
    if not later:
        changes.append(f"{back.number} leaves before {outbound.number} has landed: no flight back")
        return None
    changes.append(f"{back.number} leaves before {outbound.number} has landed: {later[0].number} instead")
    return later[0]


def _visits(
    candidates: Candidates,
    said: Mapping[str, Any],
    outbound: Flight | None,
    back: Flight | None,
    changes: list[str],
) -> dict[dt.date, dict[Slot, Entry]]:
    """What was chosen for each part of each day; a repeat or what does not fit gives way to the next that does."""
    arrives = outbound.arrives if outbound else None
    departs = back.departs if back else None
    used: set[str] = set()
    table: dict[dt.date, dict[Slot, Entry]] = {}
    for day, slots in candidates.slots().items():
        heard = said.get(str(day)) or {}
        for slot in slots:
            if _pick(candidates.visits, heard, slot) is None:
                continue
            wanted: str = heard[slot]
            possible = [id_ for id_ in candidates.open(day, slot, arrives, departs) if id_ not in used]
            id_ = wanted if wanted in possible else _instead(wanted, possible)
            if id_ != wanted:
                changes.append(_changed(candidates, wanted, id_, day, slot, wanted in used))
            if id_ is None:
                continue
            used.add(id_)
            times = fit(candidates.visits[id_], day, slot, candidates.zone, arrives, departs)
            assert times is not None  # it is among the possible
            table.setdefault(day, {})[slot] = _visit_entry(candidates.visits[id_], *times, candidates.people)
    return table


def _instead(wanted: str, possible: Iterable[str]) -> str | None:
    """The next of the same sort after the one wanted, or the first."""
    same = [id_ for id_ in possible if id_[0] == wanted[0]]
    return next((id_ for id_ in same if int(id_[1:]) > int(wanted[1:])), same[0] if same else None)


def _changed(candidates: Candidates, wanted: str, id_: str | None, day: dt.date, slot: Slot, used: bool) -> str:
    visit = candidates.visits
    why = "is planned already" if used else "does not fit"
    then = f"{visit[id_].name} instead" if id_ else "left free"
    return f"{visit[wanted].name} {why} on {day} in the {slot}: {then}"


def _flight_entry(flight: Flight, people: int) -> Entry:
    return Entry(
        kind="flight",
        id=flight.id,
        what=flight_text(flight),
        start=flight.departs,
        end=flight.arrives,
        price_eur=round(flight.price_eur * people, 2),
    )


def _visit_entry(visit: Sight | Restaurant, start: dt.datetime, end: dt.datetime, people: int) -> Entry:
    return Entry(
        kind="restaurant" if isinstance(visit, Restaurant) else "sight",
        id=visit.id,
        what=visit_text(visit),
        start=start,
        end=end,
        price_eur=round(visit.price_eur * people, 2),
    )


def _stay(candidates: Candidates, hotel: Hotel | None) -> Stay | None:
    if hotel is None or candidates.hotels is None:
        return None
    hotels = candidates.hotels
    return Stay(
        id=hotel.id,
        what=f"{hotel.name}, {hotel.area} {'★' * hotel.stars}",
        check_in=hotels.check_in,
        check_out=hotels.check_out,
        rooms=hotels.rooms,
        price_eur=round(hotels.price(hotel), 2),
    )


def _calendar(candidates: Candidates, entries: list[Entry]) -> tuple[Day, ...]:
    weather = {each.day: str(each) for each in (candidates.forecast.days if candidates.forecast else ())}
    dates = sorted({*candidates.days, *(entry.start.date() for entry in entries)} or weather)
    return tuple(
        Day(
            date=date,
            entries=tuple(sorted((e for e in entries if e.start.date() == date), key=lambda e: e.start)),
            weather=weather.get(date),
        )
        for date in dates
    )


def _notes(candidates: Candidates, outbound: Flight | None, hotel: Hotel | None) -> list[str]:
    """What does not fit together, and what was not planned."""
    notes = []
    flights, hotels = candidates.flights, candidates.hotels
    if len(candidates.days) > DAYS_LIMIT and candidates.visits:
        notes.append(f"visits are planned for the first {DAYS_LIMIT} days; the others are free")
    if outbound and hotel and hotels and outbound.arrives.date() > hotels.check_in:
        lands = date_text(outbound.arrives.date())
        notes.append(f"{outbound.number} lands on {lands}, the hotel is from {date_text(hotels.check_in)}")
    if flights and hotels and flights.back and (hotels.check_in, hotels.check_out) != (flights.depart, flights.back):
        stay = period(hotels.check_in, hotels.check_out)
        notes.append(f"the hotel was searched for {stay}, the flights for {period(flights.depart, flights.back)}")
    stays = (hotels, candidates.sights, candidates.restaurants)
    cities = {listing.city for listing in stays if listing} | ({flights.destination} if flights else set())
    if len(cities) > 1:
        notes.append(f"the specialists looked at different cities: {', '.join(sorted(cities))}")
    return notes
