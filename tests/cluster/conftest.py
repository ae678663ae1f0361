"""The echo team on real Ray and a real broker, one for the whole run; and one that scales and has a door."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest

from harness.local_team import ECHO, LocalTeam, client, echo_team, local_team
from harness.nats_server import free_port
from metier.topics.client import Client, connect
from metier.topics.subjects import Subjects

__all__ = ["client", "echo_team"]


@pytest.fixture(scope="session")
def door_port() -> int:
    return free_port()


@pytest.fixture(scope="session")
def elastic(tmp_path_factory: pytest.TempPathFactory, door_port: int) -> Iterator[LocalTeam]:
    """The echo team with two HTTP doors on one port, whose specialist `two` has as many replicas as its work needs."""
    folder = tmp_path_factory.mktemp("elastic")
    shutil.copytree(ECHO.parent, folder / "team")
    file = folder / "team" / "team.yaml"
    two = "two: {about: Says it again.,"
    text = file.read_text().replace(two, f"{two} replicas: {{min: 0, max: 3}}, concurrency: 1,")
    file.write_text(f"{text}\ngateway: {{port: {door_port}, replicas: 2}}\n")
    with local_team(folder / "state", file) as team:
        team.ready()
        yield team


@pytest.fixture
async def elastic_client(elastic: LocalTeam) -> AsyncIterator[Client]:
    up = elastic.ready()
    async with connect(up.nats_url, subjects=Subjects(up.root)) as found:
        yield found
