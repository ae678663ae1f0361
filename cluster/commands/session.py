"""What most commands begin with: the team that is up, and a client on its bus."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from metier.topics.bus import Bus
from metier.topics.client import Client, connect
from metier.topics.subjects import Subjects

from .. import telemetry
from ..state import State, Up
from ..team import Team, read


class Session(msgspec.Struct, frozen=True):
    """A connection to the team that is up."""

    state: State
    up: Up
    team: Team
    client: Client

    @property
    def bus(self) -> Bus:
        """The client's bus."""
        return self.client.bus

    @property
    def subjects(self) -> Subjects:
        """The team's subjects."""
        return self.client.subjects


@asynccontextmanager
async def connected(options: Namespace) -> AsyncIterator[Session]:
    """A session with the team of `--directory`. Raises NotUp, InvalidTeam or BusUnavailable."""
    state = State(options.directory)
    up = state.read()
    team = read(up.team)
    telemetry.setup(service="client", telemetry=team.telemetry, directory=str(state.path))
    try:
        async with connect(up.nats_url, subjects=Subjects(up.root)) as client:
            yield Session(state, up, team, client)
    finally:
        telemetry.shutdown()


def where_of(options: Namespace) -> str:
    """The option that names the same team in a command we suggest; empty where none was needed."""
    return f" --directory {options.directory}" if options.directory else ""
