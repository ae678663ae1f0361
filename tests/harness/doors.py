"""The agents' doors in this process, on a free port, before a house of instant models on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from starlette.applications import Starlette

from metier.cluster.doors.asking import opened
from metier.cluster.doors.http import AgentDoors
from metier.cluster.gateway import calls, server
from metier.cluster.gateway.crew import Crew
from metier.cluster.gateway.settings import Gateway
from metier.topics.jetstream import connect

from .house import SUBJECTS, House
from .nats_server import NatsServer
from .served import served

LIMIT_S = 10.0


class Doors(NamedTuple):
    """A team, the house that its doors speak for, and where they are."""

    nats: NatsServer
    team: House
    house: calls.House
    address: str


@asynccontextmanager
async def open_doors(directory: Path, **options: Any) -> AsyncIterator[Doors]:
    """Options as for `open_house`."""
    async with (
        served(directory, **options) as team,
        connect(team.server.url, name="doors", subjects=SUBJECTS) as bus,
        opened(bus, SUBJECTS, Crew(SUBJECTS)) as house,
        _http(house) as address,
    ):
        yield Doors(team.server, team.house, house, address)


@asynccontextmanager
async def _http(house: calls.House) -> AsyncIterator[str]:
    doors = AgentDoors(house)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with doors.running():
            yield

    app = Starlette(routes=doors.routes, lifespan=lifespan)
    app.state.house = house
    listener = server.listener(Gateway(port=0))
    listening = asyncio.Event()
    running = server.Server(app, listening.set)
    serving = asyncio.create_task(running.serve([listener]))
    try:
        async with asyncio.timeout(LIMIT_S):
            await listening.wait()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        running.close()
        await serving
