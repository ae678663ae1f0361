"""Ending what runs beside, for certain.

`asyncio.wait_for` of Python 3.11, which the NATS library connects and flushes with, drops a cancellation that comes in
the moment its work is done (python/cpython#86296). A task that lost one would run on, and who ends it wait for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

#: A cancelled task that still runs after so many seconds is cancelled again.
AGAIN_S = 5.0


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancels the tasks and waits until all have ended; what they raise is told to nobody."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)


async def apart(work: Coroutine[Any, Any, T]) -> T:
    """The work's result, in a task of its own: a cancellation of who waits is not lost in it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await end(task)
        raise
