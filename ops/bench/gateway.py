"""What the HTTP door costs: beside the bus path, and with a thousand streams open.

python ops/bench/gateway.py [--tasks N] [--streams N] [--out DIR]

The team answers at once (`team/team.yaml`); broker, actors, gateway and client share this machine. The client speaks
HTTP/1.1 over plain streams: an HTTP library would add its own milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil  # type: ignore[import-untyped]
import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # this folder is no package of the distribution

from metier.cluster import local  # noqa: E402
from metier.cluster import team as teams  # noqa: E402
from metier.topics import jetstream  # noqa: E402
from metier.topics import streams as declared  # noqa: E402
from metier.topics.client import connect  # noqa: E402
from metier.topics.subjects import Subjects  # noqa: E402
from ops.bench import machine  # noqa: E402
from ops.bench.figures import Machine  # noqa: E402

TEAM = Path(__file__).parent / "team" / "team.yaml"
ONE = "Ask red for a weekend in Paris, leaving from London on Friday"
#: Rounds that take turns, so that what else the machine does falls on both.
ROUNDS = 5
IN_FLIGHT = 64
LOAD_S = 10.0


class Figures(msgspec.Struct, kw_only=True):
    """What was measured; milliseconds, unless the name says other."""

    machine: Machine
    bus_p50: float
    bus_p99: float
    http_p50: float
    http_p99: float
    http_adds_p50: float
    first_event_p50: float
    first_event_p99: float
    tasks_per_s: float
    streams: int
    streams_rss_mb: float
    streams_broker_rss_mb: float
    idle_rss_mb: float


class Http:
    """One connection to the gateway."""

    def __init__(self, address: str) -> None:
        self._host, self._port = urlsplit(address).hostname, urlsplit(address).port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> Http:
        """Connects."""
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port)
        return self

    def send(self, method: str, path: str, body: Any = None) -> None:
        """Sends a request."""
        content = b"" if body is None else msgspec.json.encode(body)
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(content)}\r\n"
        self.writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + content)

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and body."""
        self.send(method, path, body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head[9:12]), msgspec.json.decode(await self.reader.readexactly(length))

    async def stream(self, task_id: str) -> None:
        """Opens a stream of events and returns when the first is here."""
        self.send("GET", f"/v1/tasks/{task_id}/events")
        await self.reader.readuntil(b"event: ")

    def close(self) -> None:
        """Leaves."""
        self.writer.close()


@asynccontextmanager
async def gateway(url: str, streams: int, *more: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    """A gateway in a process of its own."""
    command = ["gateway", "--nats", url, "--port", "0", "--json", "--streams", str(streams + 10), *more]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "metier.cluster.cli", *command), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        address: str = msgspec.json.decode(await process.stdout.readline())["url"]
        http = await Http(address).open()
        while (await http.ask("GET", "/readyz"))[0] != 200:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)
        http.close()
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def timed(ask: Callable[[], Awaitable[object]], count: int) -> list[float]:
    """Milliseconds of each, one after the other."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await ask()
        found.append(1000 * (time.perf_counter() - began))
    return found


async def first_event(address: str) -> object:
    """From POST to the first event of a stream opened with the id that came back."""
    http = await Http(address).open()
    _, task = await http.ask("POST", "/v1/tasks", {"text": ONE})
    await http.stream(task["task_id"])
    http.close()
    return task


async def load(address: str) -> float:
    """Tasks a second, each asked and answered over HTTP, with IN_FLIGHT in flight."""
    done, end = 0, time.perf_counter() + LOAD_S

    async def asker() -> None:
        nonlocal done
        http = await Http(address).open()
        while time.perf_counter() < end:
            status, task = await http.ask("POST", "/v1/tasks?wait_s=10", {"text": ONE})
            assert (status, task["status"]) == (200, "ok"), task
            done += 1
        http.close()

    await asyncio.gather(*(asker() for _ in range(IN_FLIGHT)))
    return done / LOAD_S


@asynccontextmanager
async def _ensured(url: str, subjects: Subjects) -> AsyncIterator[None]:
    """The streams of a team that nobody serves."""
    async with jetstream.connect(url, name="bench", subjects=subjects) as bus:
        await bus.ensure(declared.streams(subjects))
    yield


async def held(url: str, broker: int, count: int) -> tuple[float, float]:
    """Megabytes of gateway and broker with so many streams open, of tasks that no actor takes."""
    subjects = Subjects("idle")
    async with (
        _ensured(url, subjects),
        gateway(url, count, "--root", "idle") as (address, process),
    ):
        asking = await Http(address).open()
        streams = []
        for _ in range(count):
            _, task = await asking.ask("POST", "/v1/tasks", {"text": ONE, "deadline_s": 600})
            http = await Http(address).open()
            http.send("GET", f"/v1/tasks/{task['task_id']}/events")
            await http.reader.readuntil(b"retry: ")
            streams.append(http)
        await asyncio.sleep(2)
        found = (process.memory_info().rss / 1e6, psutil.Process(broker).memory_info().rss / 1e6)
        for http in streams:
            http.close()
        return found


async def measure(tasks: int, streams: int) -> Figures:
    """All of it."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="metier-bench-"))
        team = teams.read(TEAM)
        up = await stack.enter_async_context(local.up(team, file=TEAM, directory=directory, port=0))
        client = await stack.enter_async_context(connect(up.nats_url, subjects=Subjects(up.root)))
        address, process = await stack.enter_async_context(gateway(up.nats_url, streams, "--team", str(TEAM)))
        idle = process.memory_info().rss / 1e6
        http = await Http(address).open()
        bus: list[float] = []
        over: list[float] = []
        first: list[float] = []
        asks: list[tuple[list[float], Callable[[], Awaitable[object]]]] = [
            (bus, lambda: client.ask(ONE)),
            (over, lambda: http.ask("POST", "/v1/tasks?wait_s=10", {"text": ONE})),
            (first, lambda: first_event(address)),
        ]
        for _, ask in asks:
            await timed(ask, 100)
        for _ in range(ROUNDS):
            for found, ask in asks:
                found += await timed(ask, tasks // ROUNDS)
        per_s = await load(address)
        rss = await held(up.nats_url, up.nats_pid, streams)
        return Figures(
            machine=machine.describe(),
            bus_p50=_at(bus, 50),
            bus_p99=_at(bus, 99),
            http_p50=_at(over, 50),
            http_p99=_at(over, 99),
            http_adds_p50=round(_at(over, 50) - _at(bus, 50), 2),
            first_event_p50=_at(first, 50),
            first_event_p99=_at(first, 99),
            tasks_per_s=round(per_s, 1),
            streams=streams,
            streams_rss_mb=round(rss[0], 1),
            streams_broker_rss_mb=round(rss[1], 1),
            idle_rss_mb=round(idle, 1),
        )


def _at(values: list[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100)[percent - 1], 2)


def main() -> None:
    """The entry point."""
    parser = argparse.ArgumentParser(description="Measures the HTTP door.")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    figures = uvloop.run(measure(options.tasks, options.streams))
    content = msgspec.json.format(msgspec.json.encode(figures))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / f"{figures.machine.date:%Y-%m-%dT%H%M%S}-http.json").write_bytes(content + b"\n")
    print(content.decode())


if __name__ == "__main__":
    main()
