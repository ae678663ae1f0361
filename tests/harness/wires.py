"""A cable to a port of this machine, which can be cut: what was connected stays so, and hears nothing any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.relay import passing
from metier.topics.ending import end


class Wire:
    """Carries what is sent to `port`."""

    def __init__(self) -> None:
        self.port = 0
        self.server: asyncio.Server | None = None
        self.carrying: list[asyncio.Task[None]] = []
        self.ends: list[asyncio.StreamWriter] = []

    async def cut(self) -> None:
        """No connection ends, and none begins."""
        assert self.server
        self.server.close()
        await end(*self.carrying)


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A cable to a port; its own is another."""
    found = Wire()

    async def accepted(near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        far, forth = await asyncio.open_connection("127.0.0.1", port)
        found.ends += [out, forth]
        found.carrying += [asyncio.create_task(passing(near, forth)), asyncio.create_task(passing(far, out))]

    found.server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    found.port = found.server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        await found.cut()
        for writer in found.ends:
            writer.close()
