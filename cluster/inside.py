"""A team in one process, on a bus in memory: to try it and to measure it. What it is asked does not outlive it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from metier.actors.engines.base import Encoder, Engine
from metier.actors.loop import Loop
from metier.topics.client import Client
from metier.topics.memory import MemoryBus
from metier.topics.subjects import Subjects

from . import build, models
from .team import Team


@asynccontextmanager
async def inside(team: Team, directory: Path) -> AsyncIterator[Client]:
    """The team at work; `directory` is where its providers keep files. Raises what its models and tools raise."""
    subjects = Subjects(team.root)
    bus = MemoryBus(subjects)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(bus.close)
        await build.ensure(team, bus)
        shared = _Shared(team, stack)
        loops: list[Loop] = []
        for name in build.actors(team):
            actor = await build.actor(
                team, name, bus, engines=shared.engine, encoders=shared.encoder, directory=directory
            )
            loops.append(Loop(actor, bus, subjects))
        await shared.load()
        running = [asyncio.create_task(loop.run()) for loop in loops]
        stack.push_async_callback(_end, loops, running)
        await asyncio.gather(*(loop.working.wait() for loop in loops))
        client = Client(bus, subjects)
        stack.push_async_callback(client.close)
        yield client


async def _end(loops: list[Loop], running: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*(loop.stop(1.0) for loop in loops))
    await asyncio.gather(*running)


class _Shared:
    """Models by name, each loaded once however many speak through it."""

    def __init__(self, team: Team, stack: AsyncExitStack) -> None:
        self._team = team
        self._stack = stack
        self._models: dict[str, Any] = {}

    def engine(self, name: str) -> Engine:
        """The engine behind a name; opening and closing it is not its actors' business."""
        if name not in self._models:
            self._models[name] = models.engine(self._team, name)
        kept: Any = _Kept(self._models[name])
        return kept  # type: ignore[no-any-return]

    def encoder(self, name: str) -> Encoder:
        """The same for a router's encoder."""
        self._models[name] = models.encoder(self._team, name)
        kept: Any = _Kept(self._models[name])
        return kept  # type: ignore[no-any-return]

    async def load(self) -> None:
        """Loads them all."""
        for model in self._models.values():
            await model.load()
            self._stack.push_async_callback(model.close)


class _Kept:
    """A model that outlives the actors that use it."""

    def __init__(self, model: Any) -> None:
        self._of = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)

    async def load(self) -> None:
        """It is loaded already."""

    async def close(self) -> None:
        """It is closed with the team."""
