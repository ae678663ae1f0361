"""What the HTTP door costs: beside the bus path, with a thousand streams open, and killed under load.

The team answers at once (`team/team.yaml`); broker, actors, gateway and client share this machine.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from metier.cluster import local
from metier.cluster import team as teams
from metier.cluster.state import Up
from metier.topics import jetstream
from metier.topics import streams as declared
from metier.topics.client import connect
from metier.topics.subjects import Subjects

from . import figures, killed
from .contender import ONE
from .gateways import Http, gateway

TEAM = Path(__file__).parent / "team" / "team.yaml"
#: Rounds that take turns, so that what else the machine does falls on each.
WARM_UP, TASKS, ROUNDS = 100, 1000, 5
IN_FLIGHT = 64
STREAMS = 1000
#: Memory is read so long after the last stream was opened, in seconds.
SETTLED_S = 2.0

Ask = Callable[[], Awaitable[object]]
Tell = Callable[[str], None]


async def measure(seconds: float, tell: Tell) -> figures.Door:
    """All of it; `seconds` of load, and as many under kills."""
    async with AsyncExitStack() as stack:
        tell("starting the bench team")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="metier-bench-"))
        up = await stack.enter_async_context(local.up(teams.read(TEAM), file=TEAM, directory=directory, port=0))
        door = await stack.enter_async_context(gateway(up.nats_url, STREAMS, "--team", str(TEAM)))
        idle_mb = _megabytes(door.process.pid)
        bus, over, first = await _in_turns(up, door.address, tell)
        tell(f"{IN_FLIGHT} in flight through the door")
        per_s = await _load(door.address, seconds)
        tell("killing the door under load")
        kills = await killed.measure(door, ONE, seconds)
        tell(f"{STREAMS} open streams")
        held_mb, broker_mb = await _held(up)
        return figures.Door(
            tasks=len(over),
            bus_p50_ms=_at(bus, 50),
            bus_p99_ms=_at(bus, 99),
            http_p50_ms=_at(over, 50),
            http_p99_ms=_at(over, 99),
            first_event_p50_ms=_at(first, 50),
            first_event_p99_ms=_at(first, 99),
            in_flight=IN_FLIGHT,
            per_s=round(per_s, 1),
            streams=STREAMS,
            idle_mb=idle_mb,
            streams_mb=held_mb,
            broker_mb=broker_mb,
            killed=kills,
        )


# ── One in flight ────────────────────────────────────────────────────────────────────────────────────────────────────


async def _in_turns(up: Up, address: str, tell: Tell) -> list[list[float]]:
    """Milliseconds of a task over the bus, of one over HTTP, and from POST to the first event."""
    http = await Http(address).open()
    async with connect(up.nats_url, subjects=Subjects(up.root)) as client:
        asks: list[Ask] = [
            lambda: client.ask(ONE),
            lambda: http.ask("POST", "/v1/tasks?wait_s=10", {"text": ONE}),
            lambda: _first_event(address),
        ]
        tell("warming up")
        for ask in asks:
            await _timed(ask, WARM_UP)
        found: list[list[float]] = [[] for _ in asks]
        for round_ in range(ROUNDS):
            tell(f"one in flight: round {round_ + 1} of {ROUNDS}")
            for times, ask in zip(found, asks, strict=True):
                times += await _timed(ask, TASKS // ROUNDS)
    http.close()
    return found


async def _timed(ask: Ask, count: int) -> list[float]:
    found = []
    for _ in range(count):
        began = time.perf_counter()
        await ask()
        found.append(1000 * (time.perf_counter() - began))
    return found


async def _first_event(address: str) -> None:
    """From POST to the first event of a stream that was opened with the id that came back."""
    http = await Http(address).open()
    _, task = await http.ask("POST", "/v1/tasks", {"text": ONE})
    await http.opened(f"/v1/tasks/{task['task_id']}/events")
    await http.event()
    http.close()


def _at(values: Sequence[float], percent: int) -> float:
    return round(statistics.quantiles(values, n=100)[percent - 1], 2)


# ── Many ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _load(address: str, seconds: float) -> float:
    """Tasks a second, each asked and answered over HTTP, with IN_FLIGHT in flight."""
    done, end = 0, time.perf_counter() + seconds

    async def asker() -> None:
        nonlocal done
        http = await Http(address).open()
        while time.perf_counter() < end:
            status, task = await http.ask("POST", "/v1/tasks?wait_s=10", {"text": ONE})
            assert (status, task["status"]) == (200, "ok"), task
            done += 1
        http.close()

    await asyncio.gather(*(asker() for _ in range(IN_FLIGHT)))
    return done / seconds


async def _held(up: Up) -> tuple[float, float]:
    """Megabytes of a fresh gateway and of the broker with all streams open, of tasks that no actor takes."""
    subjects = Subjects("idle")
    async with jetstream.connect(up.nats_url, name="bench", subjects=subjects) as bus:
        await bus.ensure(declared.streams(subjects))
    async with gateway(up.nats_url, STREAMS, "--root", "idle") as door:
        asking, streams = await Http(door.address).open(), []
        for _ in range(STREAMS):
            _, task = await asking.ask("POST", "/v1/tasks", {"text": ONE, "deadline_s": 600})
            http = await Http(door.address).open()
            await http.opened(f"/v1/tasks/{task['task_id']}/events")
            streams.append(http)
        await asyncio.sleep(SETTLED_S)
        found = _megabytes(door.process.pid), _megabytes(up.nats_pid)
        for http in (asking, *streams):
            http.close()
        return found


def _megabytes(pid: int) -> float:
    return float(round(psutil.Process(pid).memory_info().rss / 1e6, 1))
