"""The trip team as it ships: real models, real broker, real Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from harness.local_team import LocalTeam, local_team
from metier.topics.client import Client, connect

TRIP = Path(str(files("metier.cluster.teams.trip") / "team.yaml"))


@pytest.fixture(scope="session")
def trip_team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTeam]:
    with local_team(tmp_path_factory.mktemp("trip") / "state", TRIP) as team:
        team.ready()
        yield team
        left = team.stop()
    assert set() == left


@pytest.fixture
async def client(trip_team: LocalTeam) -> AsyncIterator[Client]:
    async with connect(trip_team.ready().nats_url) as found:
        yield found
