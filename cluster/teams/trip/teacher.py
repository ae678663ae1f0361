"""The choice the secretary's model is taught: a fixed rule a traveller would agree with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metier.actors.tools.base import Request

from .candidates import TURNAROUND, Candidates, Slot, gather, sensible, unhurried
from .listings import value
from .provider import Flight


def best(request: Request) -> dict[str, Any]:
    """Arguments for `Itinerary.call` that obey its offer's schema, keys in the schema's order."""
    candidates = gather(request.inputs)
    outbound = _outbound(candidates)
    back = _back(candidates, outbound)
    arguments: dict[str, Any] = {}
    if outbound:
        arguments["outbound"] = outbound
    if back:
        arguments["back"] = back
    if candidates.hotel:
        arguments["hotel"] = min(candidates.hotel, key=lambda id_: value(candidates.hotel[id_]))
    return arguments | _days(candidates, outbound, back)


def _outbound(candidates: Candidates) -> str | None:
    """The cheapest that arrives in the day."""
    return _cheapest(candidates.outbound, sensible(candidates.outbound.values()))


def _back(candidates: Candidates, outbound: str | None) -> str | None:
    """The cheapest that leaves in the afternoon or evening, once the flight there has landed."""
    flights = list(candidates.back.values())
    if outbound:
        landed = candidates.outbound[outbound].arrives + TURNAROUND
        flights = [flight for flight in flights if flight.departs >= landed] or flights
    return _cheapest(candidates.back, unhurried(flights))


def _cheapest(choice: Mapping[str, Flight], among: Sequence[Flight]) -> str | None:
    ids = [id_ for id_, flight in choice.items() if flight in among]
    return min(ids, key=lambda id_: (choice[id_].price_eur, choice[id_].departs), default=None)


def _days(candidates: Candidates, outbound: str | None, back: str | None) -> dict[str, Any]:
    arrives = candidates.outbound[outbound].arrives if outbound else None
    departs = candidates.back[back].departs if back else None
    used: set[str] = set()
    days: dict[str, Any] = {}
    for day, slots in candidates.slots().items():
        area: str | None = None
        chosen: dict[Slot, str | None] = {}
        for slot in slots:
            open_ = [id_ for id_ in candidates.open(day, slot, arrives, departs) if id_ not in used]
            chosen[slot] = id_ = _next(candidates, open_, area)
            if id_:
                used.add(id_)
                area = candidates.visits[id_].area
        days[str(day)] = chosen
    return days


def _next(candidates: Candidates, open_: Sequence[str], area: str | None) -> str | None:
    """A dinner before a sight, what is near before what is far, then the first listed."""
    dinners = [id_ for id_ in open_ if id_[0] == "R"]
    near = [id_ for id_ in dinners or open_ if candidates.visits[id_].area == area]
    return next(iter(near or dinners or open_), None)
