"""One real server for the whole run; every test has a root, and so streams, of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from harness.nats_server import NatsServer, nats_server
from metier.topics.bus import Bus
from metier.topics.jetstream import JetStreamBus, connect
from metier.topics.memory import MemoryBus
from metier.topics.streams import streams
from metier.topics.subjects import Subjects

_roots = itertools.count(1)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with nats_server(tmp_path_factory.mktemp("nats")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server that the test may kill."""
    with nats_server(tmp_path) as running:
        yield running


@pytest.fixture
def subjects() -> Subjects:
    return Subjects(root=f"t{next(_roots)}")


@pytest.fixture
async def jetstream(server: NatsServer, subjects: Subjects) -> AsyncIterator[JetStreamBus]:
    async with connect(server.url, name="test", subjects=subjects) as bus:
        await bus.ensure(streams(subjects))
        yield bus


@pytest.fixture(params=["jetstream", "memory"])
async def bus(request: pytest.FixtureRequest, server: NatsServer, subjects: Subjects) -> AsyncIterator[Bus]:
    """Both adapters, with the streams of a team."""
    if request.param == "memory":
        memory = MemoryBus(subjects)
        await memory.ensure(streams(subjects))
        yield memory
        await memory.close()
        return
    async with connect(server.url, name="test", subjects=subjects) as real:
        await real.ensure(streams(subjects))
        yield real
