"""Load on one way to do a task: so many in flight, or so many a second whatever becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

Ask = Callable[[str], Awaitable[None]]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one stretch of load gave."""

    #: Of each task that was begun: all have ended.
    latencies_s: list[float]
    #: From the first beginning to the last end.
    seconds: float


async def in_flight(ask: Ask, text: str, number: int, seconds: float) -> Sample:
    """A closed loop: `number` tasks at any time, the next begins when one has ended."""
    latencies: list[float] = []
    began = time.perf_counter()

    async def ask_on() -> None:
        while (asked := time.perf_counter()) - began < seconds:
            await ask(text)
            latencies.append(time.perf_counter() - asked)

    async with asyncio.TaskGroup() as group:
        for _ in range(number):
            group.create_task(ask_on())
    return Sample(latencies_s=latencies, seconds=time.perf_counter() - began)


async def on_schedule(ask: Ask, text: str, rate: float, seconds: float) -> Sample:
    """An open loop: `rate` tasks a second, evenly spaced, whether earlier ones have ended or not.

    A task's time counts from when it was meant to begin, so one that had to wait for its beginning has waited:
    https://github.com/giltene/wrk2#coordinated-omission. Event loops wake up to 1 ms late, and that counts too.
    """
    latencies: list[float] = []
    began = time.perf_counter()

    async def ask_at(intended: float) -> None:
        await ask(text)
        latencies.append(time.perf_counter() - intended)

    async with asyncio.TaskGroup() as group:
        for offset in beginnings(rate, seconds):
            if (early := began + offset - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            group.create_task(ask_at(began + offset))
    return Sample(latencies_s=latencies, seconds=time.perf_counter() - began)


def beginnings(rate: float, seconds: float) -> list[float]:
    """Seconds from the start at which the tasks of an open loop begin; one at least."""
    return [number / rate for number in range(max(1, int(rate * seconds)))]


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
