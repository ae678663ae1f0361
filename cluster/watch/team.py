"""The team as it is watched: how each actor stands, its bounds, its last scaling, and what it cost."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Mapping

import msgspec

from metier.topics.bus import Bus
from metier.topics.messages import Tokens
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

from .. import build
from ..sizing import Decision
from ..team import Team
from . import standing
from .spent import Books, Spent


class Member(standing.Row, frozen=True, kw_only=True):
    """One actor."""

    role: str
    #: What it does, in the team file's words.
    about: str = ""
    #: Whom it waits for.
    needs: tuple[str, ...] = ()
    #: Bounds of its replicas.
    least: int | None = None
    most: int | None = None
    #: Its last scaling.
    scaled: Decision | None = None
    #: What it used; none: nothing yet.
    spent: Spent | None = None


class TeamView(msgspec.Struct, frozen=True, kw_only=True):
    """A team at one moment."""

    team: str
    at: dt.datetime
    dead: int
    actors: list[Member]
    #: When the first usage that counts was stored.
    spent_since: dt.datetime | None


class Lookout:
    """Asks the team. Without a team file it knows those actors that every team has."""

    def __init__(self, subjects: Subjects, team: Team | None, consumers: Mapping[str, Consumer]) -> None:
        self._subjects = subjects
        self._team = team
        self._consumers = standing.consumers(team) if team else consumers
        self._scaled = standing.scaled(team) if team else []
        self._dearest = build.roster(team).dearest if team else None
        self._books = Books(self._price)

    async def look(self, bus: Bus) -> TeamView:
        """The team as it is now. Raises BusUnavailable."""
        found, decided, _ = await asyncio.gather(
            standing.ask_all(bus, self._subjects, self._consumers),
            standing.decisions(bus, self._scaled),
            self._books.read(bus, self._subjects),
        )
        return TeamView(
            team=self._team.name if self._team else self._subjects.root,
            at=dt.datetime.now(dt.UTC),
            dead=found.dead,
            actors=[self._member(row, decided) for row in found.actors],
            spent_since=self._books.since,
        )

    def _member(self, row: standing.Row, decided: Mapping[str, Decision]) -> Member:
        known = msgspec.structs.asdict(row) | {"scaled": decided.get(row.actor), "spent": self._books.of.get(row.actor)}
        if self._team is None:
            return Member(role="actor", **known)
        size = build.section(self._team, row.actor).replicas
        known |= {"least": size.min, "most": size.max}
        if specialist := self._team.specialists.get(row.actor):
            return Member(role="specialist", about=specialist.about, needs=specialist.needs, **known)
        return Member(role="tier" if row.actor in self._team.escalation else row.actor, **known)

    def _price(self, tokens: Tokens) -> float:
        return self._dearest.price(tokens) if self._dearest else 0.0
