"""How a team stands: who is there, what waits, how fast it goes, how each actor was last scaled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from metier.topics.bus import Bus, Lag
from metier.topics.codec import decode, encode
from metier.topics.errors import Unknown
from metier.topics.messages import Control, Presence
from metier.topics.streams import DEAD, Consumer
from metier.topics.subjects import Subjects

from .. import build
from ..sizing import Decision, decision_key
from ..team import Team

#: How long replicas have to answer, in seconds.
WAIT_S = 0.5


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One actor, all its replicas together."""

    actor: str
    replicas: int
    waiting: int
    in_flight: int
    handled: int
    failed: int
    #: Handled per second over the last minute.
    rate: float
    #: Of the slowest replica, over the last minute.
    p50_ms: float
    p99_ms: float
    output_tokens: int
    model: str
    note: str
    #: How long its youngest replica has worked: less than before, and another took the place of one that went.
    youngest_s: float = 0.0


class Standing(msgspec.Struct, frozen=True):
    """A team at one moment."""

    #: Dead messages.
    dead: int
    actors: list[Row]
    replicas: list[Presence]


async def ask_all(bus: Bus, subjects: Subjects, consumers: Mapping[str, Consumer]) -> Standing:
    """What the replicas say, and what waits for each of these actors, with a replica or without."""
    asking = bus.request(subjects.control("status"), encode(Control(verb="status")), WAIT_S)
    waiting = asyncio.gather(*(_lag(bus, consumer) for consumer in consumers.values()))
    replies, lags, dead = await asyncio.gather(asking, waiting, bus.messages(subjects.stream(DEAD)))
    presences = [decode(reply.payload, Presence, reply.headers) for reply in replies]
    return Standing(
        dead=dead,
        actors=rows(dict(zip(consumers, lags, strict=True)), presences),
        replicas=sorted(presences, key=lambda presence: (presence.actor, presence.replica)),
    )


def consumers(team: Team) -> dict[str, Consumer]:
    """What each actor of the team file pulls from."""
    return {name: build.consumer(team, name) for name in build.actors(team)}


def rows(lags: Mapping[str, Lag], presences: Sequence[Presence]) -> list[Row]:
    """One row for each actor that has a consumer, in that order; an actor without a replica is down."""
    return [_row(actor, lag, [p for p in presences if p.actor == actor]) for actor, lag in lags.items()]


async def decisions(bus: Bus, actors: Iterable[str]) -> dict[str, Decision]:
    """How each of these actors was last scaled, of those that were."""
    names = list(actors)
    entries = await asyncio.gather(*(bus.read(decision_key(name)) for name in names))
    return {
        name: msgspec.json.decode(entry.value, type=Decision)
        for name, entry in zip(names, entries, strict=True)
        if entry is not None
    }


def scaled(team: Team) -> list[str]:
    """The actors whose replicas follow their work."""
    sizes = {name: build.section(team, name).replicas for name in build.actors(team)}
    return [name for name, size in sizes.items() if size.min != size.max]


async def _lag(bus: Bus, consumer: Consumer) -> Lag:
    try:
        return await bus.lag(consumer)
    except Unknown:  # an actor that was never started has no consumer
        return Lag(waiting=0, in_flight=0)


def _row(actor: str, lag: Lag, replicas: Sequence[Presence]) -> Row:
    notes = {p.note: None for p in replicas if p.note}
    return Row(
        actor=actor,
        replicas=len(replicas),
        waiting=lag.waiting,
        in_flight=lag.in_flight,
        handled=sum(p.handled for p in replicas),
        failed=sum(p.failed for p in replicas),
        rate=round(sum(p.rate for p in replicas), 3),
        p50_ms=max((p.p50_ms for p in replicas), default=0.0),
        p99_ms=max((p.p99_ms for p in replicas), default=0.0),
        output_tokens=sum(p.output_tokens for p in replicas),
        model=", ".join({p.model: None for p in replicas if p.model}),
        note="; ".join(notes) if replicas else "down",
        youngest_s=min((p.uptime_s for p in replicas), default=0.0),
    )
