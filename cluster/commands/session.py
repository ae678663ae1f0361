"""What most commands begin with: the team that is up, and a client on its bus."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from metier.topics.bus import Bus
from metier.topics.client import Client, connect
from metier.topics.errors import InvalidInput
from metier.topics.subjects import Subjects

from .. import team as teams
from .. import telemetry
from ..state import State, Up
from ..team import Team, read

#: The team that comes with Metier.
TRIP = Path(teams.__file__).parent / "teams" / "trip" / "team.yaml"


class Session(msgspec.Struct, frozen=True):
    """A connection to the team that is up."""

    state: State
    team: Team
    nats_url: str
    client: Client
    #: None for a team elsewhere, which was reached by its broker's address.
    up: Up | None

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
    """A session with the team of `--nats`, else of `--directory`. Raises NotUp, InvalidTeam or BusUnavailable."""
    state = State(options.directory)
    if options.team and not options.nats:
        raise InvalidInput(reason="--team names the file of a team elsewhere: give its broker's address with --nats")
    up = None if options.nats else state.read()
    nats_url, file = (up.nats_url, up.team) if up else (options.nats, options.team or TRIP)
    team = read(file)
    telemetry.setup(service="client", telemetry=team.telemetry, directory=str(state.path) if up else options.directory)
    try:
        async with connect(nats_url, subjects=Subjects(team.root)) as client:
            yield Session(state, team, nats_url, client, up)
    finally:
        telemetry.shutdown()


def where_of(options: Namespace) -> str:
    """The options that name the same team in a command we suggest; empty where none was needed."""
    given = {name: getattr(options, name, None) for name in ("nats", "team", "directory")}
    return "".join(f" --{name} {value}" for name, value in given.items() if value)
