"""The client for programs without an event loop: the same calls, each returning when it is done.

    import metier.topics.blocking

    with metier.topics.blocking.connect("nats://127.0.0.1:4222") as client:
        print(client.ask("What is the weather in Nice this weekend?").text)

        task = client.submit("Plan a weekend in Paris")
        for item in client.follow(task):  # events, tokens, and last the answer
            print(item)

A thread of its own runs the one client there is. Calls from several threads go side by side.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

from . import client as asynchronous
from .ending import end
from .following import Following
from .messages import Answer, Event, Task
from .subjects import Subjects

T = TypeVar("T")


class BlockingFollowing(Iterator[Event | Answer]):
    """Yields a turn's events, then its answer; `after` is where to continue, as in `Following`."""

    def __init__(self, thread: _Thread, following: Following) -> None:
        self._thread = thread
        self._following = following

    @property
    def after(self) -> int:
        """The sequence of the last event so far."""
        return self._following.after

    def __next__(self) -> Event | Answer:
        try:
            return self._thread.run(self._next())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Stops listening."""
        self._thread.run(self._following.aclose())

    async def _next(self) -> Event | Answer:
        return await anext(self._following)


class BlockingClient:
    """Speaks for one tenant. Arguments and errors are those of `Client`; Ctrl-C ends a call."""

    def __init__(self, thread: _Thread, client: asynchronous.Client) -> None:
        self._thread = thread
        self._client = client

    def submit(self, text: str, **options: Any) -> Task:
        """Publishes a task and returns it once the bus has it."""
        return self._thread.run(self._client.submit(text, **options))

    def ask(self, text: str, **options: Any) -> Answer:
        """Submits a task and waits for its answer."""
        return self._thread.run(self._client.ask(text, **options))

    def follow_up(self, task: Task | str, text: str, *, deadline_s: float = 30.0) -> Task:
        """Publishes what a task was missing; the same task continues."""
        return self._thread.run(self._client.follow_up(task, text, deadline_s=deadline_s))

    def cancel(self, task: Task | str) -> None:
        """Tells every actor to stop."""
        self._thread.run(self._client.cancel(task))

    def result(self, task: Task | str, wait_s: float | None = None, *, turn: int | None = None) -> Answer:
        """The answer to a task's turn, waited for."""
        return self._thread.run(self._client.result(task, wait_s, turn=turn))

    def answer(self, task_id: str) -> Answer:
        """The last answer that stands."""
        return self._thread.run(self._client.answer(task_id))

    def follow(
        self, task: Task | str, after: int = 0, *, turn: int | None = None, wait_s: float | None = None
    ) -> BlockingFollowing:
        """Progress and tokens as they come, then the answer."""
        return BlockingFollowing(self._thread, self._client.follow(task, after, turn=turn, wait_s=wait_s))


@contextmanager
def connect(url: str, *, tenant: str = "default", subjects: Subjects = Subjects()) -> Iterator[BlockingClient]:  # noqa: B008
    """A client on a connection of its own, closed on exit. Raises BusUnavailable."""
    thread, stack = _Thread(), AsyncExitStack()
    try:
        client = thread.run(stack.enter_async_context(asynchronous.connect(url, tenant=tenant, subjects=subjects)))
        try:
            yield BlockingClient(thread, client)
        finally:
            thread.run(stack.aclose())
    finally:
        thread.stop()


class _Thread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="metier-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The work's result. Interrupted, it is cancelled."""
        if self._loop.is_closed():
            work.close()
            raise RuntimeError("the client is closed")
        done = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return done.result()
        except BaseException:
            done.cancel()
            raise

    def stop(self) -> None:
        """Ends the thread, and what still runs in it."""
        asyncio.run_coroutine_threadsafe(_end_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_all() -> None:
    await end(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))
    await asyncio.get_running_loop().shutdown_asyncgens()
