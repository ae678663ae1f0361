"""The door as a Serve deployment: uvicorn in the replica, on a port of its own. Why: ops/decisions/0012."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from metier.topics.errors import Unavailable
from metier.topics.subjects import Subjects

from ..replica import Settings
from ..team import Team
from ..telemetry import TRACES, setup, shutdown
from . import server
from .settings import Gateway


class Entrance:
    """Serve starts it with `reconfigure`, watches it with `check_health`, ends it with `__del__`.

    A replica that comes and one that goes listen on one port side by side, and so may several on one node.
    """

    def __init__(self, team: Team, settings: Settings) -> None:
        self._team = team
        self._settings = settings
        self._server: server.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Takes the `gateway` section as it is now, and listens by it once this returns.

        Raises PortInUse, Unavailable, or InvalidInput for keys that are missing.
        """
        directory = self._settings.directory
        setup(service="gateway", telemetry=self._team.telemetry, directory=directory)
        await self._stop()
        section = msgspec.convert(user_config, Gateway)
        spans = Path(directory) / TRACES if directory else None
        app = server.door(self._settings.nats_url, Subjects(self._team.root), section, self._team, spans)
        listens = asyncio.Event()
        self._server = server.Server(app, listens.set)
        self._serving = asyncio.create_task(self._server.serve([server.listener(section, shared=True)]))
        waiting = asyncio.create_task(listens.wait())
        await asyncio.wait((waiting, self._serving), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await self.check_health()

    async def check_health(self) -> None:
        """Raises if it no longer serves: Serve then replaces this replica."""
        if self._serving is not None and self._serving.done():
            self._serving.result()
            raise Unavailable(what="The HTTP door", reason="its server has ended")

    async def __del__(self) -> None:
        """Ends all streams, lets requests end within the grace, closes the bus."""
        if hasattr(self, "_serving"):
            await self._stop()
        shutdown()

    async def _stop(self) -> None:
        serving, self._serving = self._serving, None
        if self._server is not None and serving is not None:
            self._server.close()
            await asyncio.wait((serving,))
