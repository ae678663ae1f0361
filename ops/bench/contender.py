"""One way to do the task in a process of its own, which this file runs: it starts it, loads it as told, and stops it.

python -m ops.bench.contender KIND OPTIONS-AS-JSON DIRECTORY

Orders come as lines of JSON on standard input, replies go out the same way; the end of the input is the order to stop.
Whoever it is, the client's event loop, the loads and the clocks are the same. Imports nothing that peers lack.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import msgspec
import uvloop

from .clock import Clock, descendants
from .load import Ask, Sample, in_flight, on_schedule, percentile

#: The same words for everybody: who is to be asked stands in them.
ONE = "Ask red for a weekend in Paris, leaving from London on Friday"
THREE = "Ask red green blue for a weekend in Paris, leaving from London on Friday"
CHAIN = "Ask first second third for a weekend in Paris, leaving from London on Friday"
SPECIALISTS = ("red", "green", "blue")


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The first reply: it can be asked."""

    #: Whether what it has accepted survives the end of its processes, and what of it is kept.
    durable: Literal["yes", "in part", "no"] = "no"
    kept: str = ""
    versions: dict[str, str] = {}
    #: Where the broker counts its messages, if it does.
    monitor_url: str = ""
    #: Whatever else it tells about a task.
    told: dict[str, Any] = {}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of load."""

    text: str
    seconds: float
    #: Tasks at a time; with `rate`, that many a second instead.
    in_flight: int = 1
    rate: float = 0.0
    #: Which of its ways, if it has several.
    way: str = ""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What that gave."""

    tasks: int
    seconds: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    #: CPU time per task by process.
    cpu_ms: dict[str, float]


class Started(NamedTuple):
    """A contender that can be asked."""

    ready: Ready
    #: What asks it, by way; the usual one is "".
    asks: Mapping[str, Ask]
    #: Its processes by id, the client's among them.
    processes: Callable[[], dict[int, str]] = descendants


#: What a module in `peers` offers as `started`: made with the options of the command line and a directory of its own.
Start = Callable[..., AbstractAsyncContextManager[Started]]


def reply(sample: Sample, cpu_s: Mapping[str, float]) -> Reply:
    """A sample in figures."""
    tasks = len(sample.latencies_s)
    p50, p95, p99 = (round(1000 * percentile(sample.latencies_s, share), 3) for share in (0.50, 0.95, 0.99))
    return Reply(
        tasks=tasks,
        seconds=round(sample.seconds, 3),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        cpu_ms={name: used for name, s in cpu_s.items() if (used := round(1000 * s / tasks, 3)) >= 0.005},
    )


async def carry_out(order: Order, started: Started) -> Reply:
    """One order."""
    ask = started.asks[order.way]
    clock = Clock(started.processes())
    if order.rate:
        sample = await on_schedule(ask, order.text, order.rate, order.seconds)
    else:
        sample = await in_flight(ask, order.text, order.in_flight, order.seconds)
    return reply(sample, clock.used_s())


async def serve(start: Start, options: dict[str, Any], directory: Path, say: BinaryIO) -> None:
    """Starts, says so, carries out orders until there are no more, stops."""
    async with AsyncExitStack() as stack:
        started = await stack.enter_async_context(start(directory=directory, **options))
        await _say(say, started.ready)
        async for order in _orders():
            await _say(say, await carry_out(order, started))


async def _orders() -> AsyncIterator[Order]:
    while line := await asyncio.to_thread(sys.stdin.buffer.readline):
        yield msgspec.json.decode(line, type=Order)


def _say(say: BinaryIO, what: msgspec.Struct) -> Awaitable[None]:
    def write() -> None:
        say.write(msgspec.json.encode(what) + b"\n")
        say.flush()

    return asyncio.to_thread(write)


def main() -> None:
    """The entry point."""
    # Libraries print: their words go where errors go, and replies alone to where the orders came from.
    say = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    kind, options, directory = sys.argv[1:]
    start: Start = importlib.import_module(f"ops.bench.peers.{kind}").started
    uvloop.run(serve(start, msgspec.json.decode(options), Path(directory), say))


if __name__ == "__main__":
    main()
