"""What arrives together is done together; what arrives alone waits a few milliseconds at most."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from metier.actors.engines.batch import Batcher

LIMIT_S = 10.0


class Slow:
    """Doubles numbers; each batch runs until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = threading.Event()

    def __call__(self, items: list[int]) -> Sequence[int]:
        self.batches.append(items)
        assert self.go_on.wait(LIMIT_S)
        if 13 in items:
            raise RuntimeError("thirteen")
        return [2 * item for item in items]


@asynccontextmanager
async def batching(run: Slow, *, largest: int = 4, wait_ms: float = 5.0) -> AsyncIterator[Batcher[int, int]]:
    batcher: Batcher[int, int] = Batcher(run, largest=largest, wait_ms=wait_ms)
    try:
        yield batcher
    finally:
        run.go_on.set()
        await batcher.close()


async def begun(run: Slow, count: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while len(run.batches) < count:  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(0.001)


async def test_what_arrives_together_is_one_batch() -> None:
    run = Slow()
    run.go_on.set()
    async with batching(run) as batcher:
        assert [2, 4, 6] == await asyncio.gather(*(batcher.submit(n) for n in (1, 2, 3)))
    assert [[1, 2, 3]] == run.batches


async def test_a_batch_is_never_larger_than_the_model_takes() -> None:
    run = Slow()
    run.go_on.set()
    async with batching(run) as batcher:
        await asyncio.gather(*(batcher.submit(n) for n in range(10)))
    assert [4, 4, 2] == [len(batch) for batch in run.batches]


async def test_a_full_batch_waits_for_nobody() -> None:
    run = Slow()
    run.go_on.set()
    async with batching(run, largest=2, wait_ms=1000 * LIMIT_S) as batcher, asyncio.timeout(LIMIT_S / 2):
        assert [2, 4] == await asyncio.gather(*(batcher.submit(n) for n in (1, 2)))


async def test_one_alone_waits_its_few_milliseconds_and_no_longer() -> None:
    run = Slow()
    run.go_on.set()
    clock = asyncio.get_running_loop().time
    async with batching(run) as batcher:
        waits = []
        for _ in range(20):
            began = clock()
            await batcher.submit(1)
            waits.append(clock() - began)
    assert 0.005 <= min(waits) <= 0.025


async def test_what_comes_while_a_batch_runs_waits_outside_and_can_still_leave() -> None:
    run = Slow()
    async with batching(run) as batcher:
        first = batcher.submit(1)
        await begun(run, 1)
        left, stayed = batcher.submit(2), batcher.submit(3)
        left.cancel()
        run.go_on.set()
        assert (2, 6) == (await first, await stayed)
    assert [[1], [3]] == run.batches


async def test_an_error_reaches_those_of_its_batch_alone() -> None:
    run = Slow()
    run.go_on.set()
    async with batching(run, largest=1) as batcher:
        failing, other = batcher.submit(13), batcher.submit(1)
        with pytest.raises(RuntimeError, match="thirteen"):
            await failing
        assert 2 == await other


async def test_closing_cancels_what_waits_and_ends_what_runs() -> None:
    run = Slow()
    async with batching(run) as batcher:
        running = batcher.submit(1)
        await begun(run, 1)
        waiting = batcher.submit(2)
    assert running.cancelled()
    assert waiting.cancelled()
    assert [[1]] == run.batches
