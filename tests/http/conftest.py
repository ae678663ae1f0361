"""A real server and a door for every test: some stop the one or the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness.gateway import Door, open_door
from harness.nats_server import NatsServer, nats_server


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    with nats_server(tmp_path) as running:
        yield running


@pytest.fixture
async def door(nats: NatsServer) -> AsyncIterator[Door]:
    async with open_door(nats) as running:
        yield running
