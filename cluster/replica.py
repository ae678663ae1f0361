"""One Serve deployment: one actor, its bus and its loop."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import Any

import msgspec

from metier.actors.engines.base import Encoder, Engine
from metier.actors.loop import Loop
from metier.topics import jetstream
from metier.topics.asking import Asking
from metier.topics.bus import Bus
from metier.topics.ending import end
from metier.topics.errors import BusUnavailable, Unavailable
from metier.topics.load import Load
from metier.topics.subjects import Subjects

from . import build, models, processes
from .metrics import Watch
from .team import Team

log = logging.getLogger("metier.replica")

#: Running work may take this long to end when a replica is told to go, in seconds.
GRACE_S = 10.0
#: Between attempts to reach a broker that is away, in seconds.
RETRY_S = 0.5
#: Objects made and not yet freed before Python looks for cycles among them: its own 700 are those of a few messages,
#: and every look finds all that is under way.
COLLECT_AFTER = 10_000


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a replica must know besides its team."""

    #: One address, or several with commas.
    nats_url: str
    #: The state directory of a local team: traces, and what providers keep.
    directory: str | None = None


class Replica:
    """Runs one actor. Serve starts it with `reconfigure`, watches it with `check_health`, ends it with `__del__`.

    The constructor does nothing that can fail: a broker that is away is waited for.
    """

    def __init__(self, team: Team, name: str, settings: Settings) -> None:
        self._team = team
        self._name = name
        self._settings = settings
        self._loop: Loop | None = None
        self._life: asyncio.Task[None] | None = None
        self._watch: Watch | None = None
        self._shared = frozenset(models.shared(team))

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Takes the actor's section of the team file as it is now, and works by it once this returns.

        Raises what the actor raises when it opens.
        """
        from .telemetry import setup

        gc.set_threshold(COLLECT_AFTER, 20, 20)
        processes.give_way()
        setup(service=self._name, telemetry=self._team.telemetry, directory=self._settings.directory)
        await self._stop()
        self._team = build.with_section(self._team, self._name, user_config)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(ready), name=f"actor {self._name}")
        await asyncio.wait((ready, self._life), return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            self._life.result()

    async def check_health(self) -> None:
        """Raises if the loop has ended: Serve then replaces this replica."""
        if self._life is not None and self._life.done():
            self._life.result()
            raise Unavailable(what=f"Actor {self._name}", reason="its loop has ended")

    async def __del__(self) -> None:
        """Stops pulling, ends running work within the grace, hands the rest back, closes the bus."""
        from .telemetry import shutdown

        if hasattr(self, "_life"):
            await self._stop()
        shutdown()

    async def _live(self, ready: asyncio.Future[None]) -> None:
        while True:
            url, subjects = self._settings.nats_url, Subjects(self._team.root)
            try:
                async with jetstream.connect(url, name=self._name, subjects=subjects) as bus:
                    await self._work(bus, subjects, ready)
                    return
            except BusUnavailable as error:
                if ready.done():
                    raise
                log.warning("%s: %s", self._name, error, extra={"action": "connect"})
                await asyncio.sleep(RETRY_S)

    async def _work(self, bus: jetstream.JetStreamBus, subjects: Subjects, ready: asyncio.Future[None]) -> None:
        # Whoever comes first makes the streams; only the actor itself knows its own section as it is now.
        await build.ensure(self._team, bus, (self._name,))
        actor = await build.actor(
            self._team,
            self._name,
            bus,
            engines=self._engine,
            encoders=self._encoder,
            directory=self._settings.directory or ".",
        )
        self._loop = Loop(actor, bus, subjects)
        working = asyncio.create_task(self._loop.working.wait())
        working.add_done_callback(lambda done: None if done.cancelled() or ready.done() else ready.set_result(None))
        sides = [working, *self._watching(self._loop, bus)]
        if self._name == "router":  # where tasks come in, they may be asked as requests, too
            load = Load(bus, {name: build.consumer(self._team, name) for name in build.actors(self._team)})
            sides.append(asyncio.create_task(Asking(bus, subjects, load).run()))
        try:
            await self._loop.run()
        finally:
            await end(*sides)

    def _watching(self, loop: Loop, bus: Bus) -> list[asyncio.Task[Any]]:
        """The task that keeps metrics fresh, where somebody collects them."""
        from .telemetry import endpoint_of

        if not endpoint_of(self._team.telemetry):
            return []
        self._watch = self._watch or Watch(loop)
        return [asyncio.create_task(self._watch.run(loop, bus))]

    async def _stop(self) -> None:
        life, self._life = self._life, None
        if life is None:
            return
        if self._loop is not None and self._loop.working.is_set():
            await self._loop.stop(GRACE_S)
            await asyncio.wait((life,))
        else:
            await end(life)
        self._loop = None

    def _engine(self, model: str) -> Engine:
        if model not in self._shared:
            return models.engine(self._team, model)
        from .pool import PooledEngine

        return PooledEngine(model, self._team.models[model].shows or "")

    def _encoder(self, model: str) -> Encoder:
        if model not in self._shared:
            return models.encoder(self._team, model)
        from .pool import PooledEngine

        return PooledEngine(model, self._team.models[model].shows or "")
