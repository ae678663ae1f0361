"""The echo team on real Ray and a real broker, one for the whole run."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from harness.local_team import LocalTeam, echo_team
from metier.topics.client import Client, connect
from metier.topics.subjects import Subjects

__all__ = ["client", "echo_team"]


@pytest.fixture
async def client(echo_team: LocalTeam) -> AsyncIterator[Client]:
    up = echo_team.ready()
    async with connect(up.nats_url, subjects=Subjects(up.root)) as found:
        yield found
