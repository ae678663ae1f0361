"""One thread for the blocking calls of a library that wants all of them from the same one."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class Thread:
    """Runs calls one after the other. A call that never returns keeps neither its caller nor the process."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns or raises. Cancelling leaves it running."""
        future: Future[T] = Future()
        self._calls.put((future, function, arguments))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the thread after the calls it was given."""
        self._calls.put(None)

    def _run(self) -> None:
        while call := self._calls.get():
            future, function, arguments = call
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - raised by whoever waits
                future.set_exception(error)
