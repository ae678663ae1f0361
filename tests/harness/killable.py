"""The HTTP door in a process of its own, which may be killed and looked at."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

#: A new process, on a busy machine.
START_S = 60.0


class Killable:
    """A gateway in a process of its own, which is killed and started again on its port."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = ["gateway", *self._options, "--port", str(self.port), "--json"]
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "metier.cluster.cli", *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self.process.stdout
        async with asyncio.timeout(START_S):
            said = msgspec.json.decode(await self.process.stdout.readline())
        self.port = int(said["url"].rpartition(":")[2])

    async def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process
        self.process.send_signal(number)
        return await self.process.wait()


@asynccontextmanager
async def killable(*options: str) -> AsyncIterator[Killable]:
    """A gateway with these options of the command, such as where its broker is; ended on exit."""
    running = Killable(*options)
    try:
        await running.start()
        yield running
    finally:
        if running.process and running.process.returncode is None:
            await running.kill()
