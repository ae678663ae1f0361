"""Contenders from outside: each started in a process of its own, loaded, and gone with all it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil  # type: ignore[import-untyped]

from metier.topics.errors import Unavailable

from .contender import Order, Ready, Reply

ROOT = Path(__file__).resolve().parents[2]
#: What is said at once must be said by then, and what was started must be gone by then.
START_S, STOP_S = 90.0, 30.0
#: A stretch of load may take so much longer than it was meant to: what is in flight at its end still ends.
LATE_S = 60.0
#: Lines of a contender's own words that an error quotes.
QUOTED = 15

Said = TypeVar("Said")


class Contender(msgspec.Struct, frozen=True, kw_only=True):
    """What is started: a module of `peers` or a kind of decoder, its options, and where it runs."""

    kind: str
    #: What runs it.
    module: str = "ops.bench.contender"
    options: dict[str, Any] = {}
    environment: dict[str, str] = {}
    python: str = sys.executable


class Running:
    """A contender that has been started."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self._name = name
        self._process = process
        self._log = log
        self.ready: Any = None

    async def began(self, kind: type, limit_s: float) -> None:
        """Waits until it can be asked. Raises Unavailable with its last words."""
        self.ready = msgspec.json.decode(await self._line(limit_s), type=kind)

    async def carry_out(self, order: Order) -> Reply:
        """Loads it. Raises Unavailable with its last words."""
        return await self.exchange(order, Reply, order.seconds + LATE_S)

    async def exchange(self, order: msgspec.Struct, kind: type[Said], limit_s: float) -> Said:
        """Gives an order, and returns the reply. Raises Unavailable with its last words."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        return msgspec.json.decode(await self._line(limit_s), type=kind)

    async def end(self) -> None:
        """Has it stop; then kills what is left of it, by id."""
        assert self._process.stdin is not None
        own = _tree(self._process.pid)
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        except TimeoutError:
            own += _tree(self._process.pid)
        # An id that another process has by now is left alone: psutil compares when they began.
        for process in own:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        await self._process.wait()

    async def _line(self, limit_s: float) -> bytes:
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise Unavailable(what=self._name, reason=f"it said nothing for {limit_s:g} s: {self._words()}") from None
        if not line:
            raise Unavailable(what=self._name, reason=self._words())
        return line

    def _words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-QUOTED:])


@asynccontextmanager
async def running(
    name: str, contender: Contender, ready: type = Ready, limit_s: float = START_S
) -> AsyncIterator[Running]:
    """A contender, started; gone on exit. Raises Unavailable with its last words."""
    with tempfile.TemporaryDirectory(prefix="metier-bench-", ignore_cleanup_errors=True) as folder:
        log = Path(folder) / "said.log"
        with log.open("wb") as words:
            process = await asyncio.create_subprocess_exec(
                *(contender.python, "-m", contender.module),
                *(contender.kind, msgspec.json.encode(contender.options).decode(), folder),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=words,
                cwd=ROOT,
                env=os.environ | contender.environment,
            )
        started = Running(name, process, log)
        try:
            await started.began(ready, limit_s)
            yield started
        finally:
            await started.end()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []
