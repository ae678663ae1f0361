"""Micro-batching: what arrives together is done together, in one thread."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")


class Batcher(Generic[Item, Output]):
    """Gathers items that come within `wait_ms`, at most `largest`, and runs them in one worker thread.

    What comes while a batch runs waits for the next. Items whose future was cancelled are left out.
    """

    def __init__(self, run: Callable[[list[Item]], Sequence[Output]], *, largest: int, wait_ms: float) -> None:
        self._run = run
        self._largest = largest
        self._wait_s = wait_ms / 1000
        self._waiting: deque[tuple[Item, asyncio.Future[Output]]] = deque()
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._loop: asyncio.Task[None] | None = None

    def submit(self, item: Item) -> asyncio.Future[Output]:
        """Queues an item; the future has its output, or the error that its batch met."""
        if self._loop is None or self._loop.done():
            self._loop = asyncio.create_task(self._forever(), name="batcher")
        future: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        return future

    async def close(self) -> None:
        """Cancels what waits and returns when the batch that runs has ended."""
        if self._loop is not None:
            self._loop.cancel()
            await asyncio.wait([self._loop])
        for _, future in self._waiting:
            future.cancel()
        await asyncio.to_thread(self._thread.shutdown)

    async def _forever(self) -> None:
        while True:
            await self._arrived.wait()
            if len(self._waiting) < self._largest:
                await asyncio.sleep(self._wait_s)
            batch = self._take()
            if batch:
                await self._answer(batch)

    def _take(self) -> list[tuple[Item, asyncio.Future[Output]]]:
        batch: list[tuple[Item, asyncio.Future[Output]]] = []
        while self._waiting and len(batch) < self._largest:
            item, future = self._waiting.popleft()
            if not future.done():
                batch.append((item, future))
        if not self._waiting:
            self._arrived.clear()
        return batch

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Output]]]) -> None:
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._run, [item for item, _ in batch])
        try:
            outputs = await running
        except asyncio.CancelledError:
            for _, future in batch:
                future.cancel()
            raise
        except Exception as error:  # noqa: BLE001 - it belongs to whoever asked, not to the batcher
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), output in zip(batch, outputs, strict=True):
            if not future.done():
                future.set_result(output)
