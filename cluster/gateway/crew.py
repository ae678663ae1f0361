"""Who is on the team behind the door."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from metier.topics import streams
from metier.topics.bus import Bus
from metier.topics.codec import decode, encode
from metier.topics.load import AGGREGATOR, ROUTER, door
from metier.topics.messages import Control, Presence
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

from .. import build
from ..team import Team

#: How long replicas have to say who they are, and for how long that holds, in seconds.
ASK_S, HOLDS_S = 0.3, 5.0


class Crew:
    """The specialists by what they do: as the team file says; without one, those that answer when asked."""

    def __init__(self, subjects: Subjects, team: Team | None = None) -> None:
        self.name = team.name if team else subjects.root
        #: Whether all are known, those too that have no replica now.
        self.complete = team is not None
        self.consumers = _consumers(subjects, team)
        self._subjects = subjects
        self._found = {name: one.about for name, one in team.specialists.items()} if team else {}
        self._asked_at = -HOLDS_S
        self._asking = asyncio.Lock()

    async def specialists(self, bus: Bus) -> Mapping[str, str]:
        """Each by name, with one sentence if the team file is known."""
        if self.complete:
            return self._found
        async with self._asking:
            if time.monotonic() - self._asked_at >= HOLDS_S:
                replies = await bus.request(self._subjects.control("status"), encode(Control(verb="status")), ASK_S)
                present = [decode(reply.payload, Presence, reply.headers) for reply in replies]
                stream = self._subjects.stream(streams.SUBTASKS)
                self._found = {one.actor: "" for one in sorted(present, key=_actor) if one.stream == stream}
                self._asked_at = time.monotonic()
        return self._found


def _actor(presence: Presence) -> str:
    return presence.actor


def _consumers(subjects: Subjects, team: Team | None) -> dict[str, Consumer]:
    """What each actor pulls from; without a team file, the two that every team has."""
    if team is not None:
        return {name: build.consumer(team, name) for name in (ROUTER, AGGREGATOR, *team.specialists)}
    return {
        **door(subjects),
        AGGREGATOR: Consumer(
            stream=subjects.stream(streams.RESULTS), name=AGGREGATOR, subject=subjects.everything("result")
        ),
    }
