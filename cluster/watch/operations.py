"""What the HTTP door shows to somebody who watches: `/v1/team`, `/v1/activity`, a task's trace, `/v1/dead`.

Figures of the team are for every tenant. Dead messages are other people's words: where the door has keys, they are for
the operator's tenant alone.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import Response

from metier.topics.errors import MetierError, UnknownDead
from metier.topics.streams import DEAD, Consumer
from metier.topics.subjects import Subjects

from .. import traces
from ..gateway import problems, stream
from ..gateway.calls import Call, House, Operation, Parameter, replied
from ..gateway.problems import Problem
from ..team import Team
from . import graves
from .activity import Ear
from .feed import Feed
from .team import Lookout, TeamView

#: How often the team is asked, and how often tasks are told, in seconds.
TEAM_S, ACTIVITY_S = 1.0, 0.25
#: Dead messages that are listed, the newest of them, and how much of each.
GRAVES, PAYLOAD_LIMIT = 200, 4_000


class Trace(msgspec.Struct, frozen=True):
    """The spans of one trace, by their start."""

    trace: str
    spans: list[traces.Record]


class Traces(msgspec.Struct, frozen=True):
    """A task's traces, a turn each."""

    traces: list[Trace]


class DeadList(msgspec.Struct, frozen=True):
    """The newest dead messages, oldest first, and how many there are."""

    count: int
    #: As `metier dead --json` has them; a long payload is cut.
    dead: list[dict[str, Any]]


class Again(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That a message is to be sent again. It has no fields: a page elsewhere cannot send JSON unasked."""


class SentAgain(msgspec.Struct, frozen=True):
    """A message that was sent again."""

    number: int
    subject: str


class Watch:
    """The operations, over one team. `spans` is the folder where this machine keeps its spans."""

    def __init__(
        self,
        subjects: Subjects,
        team: Team | None,
        consumers: dict[str, Consumer],
        spans: Path | None = None,
        operator: str = "",
    ) -> None:
        self._subjects = subjects
        self._lookout = Lookout(subjects, team, consumers)
        self._spans = spans
        self._operator = operator
        self._team: Feed | None = None
        self._activities: dict[str, Feed] = {}

    # ── The team ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_team(self, call: Call) -> Response:
        """Shows the team."""
        return replied(await self._lookout.look(call.door.bus))

    async def get_team_events(self, call: Call) -> Response:
        """Streams it, one look a second for all who watch."""
        if self._team is None:
            self._team = Feed(partial(self._look, call.house), TEAM_S)
        return stream.Stream(call.house, _chunks(self._team, "team"))

    async def get_activity_events(self, call: Call) -> Response:
        """Streams the tenant's tasks."""
        feed = self._activities.get(call.tenant)
        if feed is None or feed.idle:
            ear = Ear(call.tenant)
            feed = self._activities[call.tenant] = Feed(
                partial(_shown, ear), ACTIVITY_S, partial(self._listen, ear, call.house)
            )
        return stream.Stream(call.house, _chunks(feed, "activity"))

    async def _look(self, house: House) -> bytes:
        try:
            return msgspec.json.encode(await self._lookout.look(house.opened().bus))
        except Problem as problem:
            raise MetierError(reason=problem.detail) from problem

    async def _listen(self, ear: Ear, house: House) -> None:
        await ear.listen(house.opened().bus, self._subjects)

    # ── A task ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_trace(self, call: Call) -> Response:
        """Shows where a task's time went."""
        found = await call.door.found(call.tenant, call.task_id)
        if self._spans is None:
            raise Problem(404, "Spans are not kept where this gateway runs.", kind="no-trace")
        ids = [known.trace_id for known in (found.answer, found.plan) if known and known.trace_id]
        read = [(id_, await asyncio.to_thread(traces.read, self._spans, id_)) for id_ in dict.fromkeys(ids)]
        return replied(Traces([Trace(id_, spans) for id_, spans in read if spans]))

    # ── Dead messages ────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_dead(self, call: Call) -> Response:
        """Lists the newest dead messages."""
        self._check_operator(call)
        bus = call.door.bus
        found = await graves.buried(bus, self._subjects, GRAVES)
        count = await bus.messages(self._subjects.stream(DEAD))
        return replied(DeadList(count, [_cut(graves.shown(grave)) for grave in found]))

    async def post_retry(self, call: Call) -> Response:
        """Sends one again."""
        self._check_operator(call)
        await call.body(Again)
        number = call.request.path_params["number"]
        if not re.fullmatch(r"[0-9]{1,18}", number):
            raise UnknownDead(number=number, name=number)
        grave = await graves.send_again(call.door.bus, self._subjects, int(number))
        return replied(SentAgain(grave.number, grave.dead.subject))

    def _check_operator(self, call: Call) -> None:
        if call.house.keys.required and call.tenant != self._operator:
            raise Problem(403, "Dead messages are for the operator of this team alone.")

    # ── The table ────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All, as routes and in the document."""
        get, post = partial(Operation, method="GET"), partial(Operation, method="POST")
        task = Parameter(name="task_id", place="path", about="The task.")
        number = Parameter(name="number", place="path", about="Its number in the list.")
        return (
            get(path="/v1/team", handle=self.get_team, about="See how the team stands.", gives={200: TeamView}),
            get(
                path="/v1/team/events",
                handle=self.get_team_events,
                about="Watch the team, every second.",
                gives={200: stream.MEDIA_TYPE},
            ),
            get(
                path="/v1/activity/events",
                handle=self.get_activity_events,
                about="Watch the tasks, whoever asked them; nothing is sent while nothing happens.",
                gives={200: stream.MEDIA_TYPE},
            ),
            get(
                path="/v1/tasks/{task_id}/trace",
                handle=self.get_trace,
                about="See where a task's time went.",
                gives={200: Traces},
                problems=(404,),
                parameters=(task,),
            ),
            get(path="/v1/dead", handle=self.get_dead, about="Read what died.", gives={200: DeadList}, problems=(403,)),
            post(
                path="/v1/dead/{number}/retry",
                handle=self.post_retry,
                about="Send a dead message on its way again.",
                body=Again,
                gives={200: SentAgain},
                problems=(400, 403, 404, 408, 413, 415, 422),
                parameters=(number,),
            ),
        )


async def _chunks(feed: Feed, name: str) -> AsyncGenerator[bytes]:
    yield stream.RETRY
    async for made in stream.kept_alive(feed.watch()):
        if made is None:
            yield stream.KEEP_ALIVE
        elif isinstance(made, MetierError):
            yield stream.event(msgspec.json.encode(problems.of(made).details()), "problem")
        else:
            yield stream.event(made, name)


async def _shown(ear: Ear) -> bytes | None:
    return ear.shown()


def _cut(dead: dict[str, Any]) -> dict[str, Any]:
    text = str(dead["payload"])
    if len(text) <= PAYLOAD_LIMIT:
        return dead
    return dead | {"payload": f"{text[:PAYLOAD_LIMIT]}… ({len(text)} characters)"}
