"""A task as it goes on: its events in order, then its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from .bus import Bus
from .codec import decode
from .ending import end
from .errors import InvalidMessage
from .messages import Answer, Event, Task
from .streams import EVENTS
from .subjects import Subjects

_log = logging.getLogger(__name__)

#: An event that the stream counts and does not deliver within this time was forgotten meanwhile.
LATE_S = 2.0

Step = tuple[int, Event | Answer]


class Following(AsyncIterator[Event | Answer]):
    """Yields a turn's events, then its answer. Close it when leaving early: `async with aclosing(following)`."""

    def __init__(self, steps: AsyncGenerator[Step], after: int) -> None:
        self._steps = steps
        #: Where to continue: pass it as `after`, here or in another process, and what follows comes, once.
        self.after = after

    async def __anext__(self) -> Event | Answer:
        self.after, item = await anext(self._steps)
        return item

    async def aclose(self) -> None:
        """Stops listening."""
        await self._steps.aclose()


_Item = tuple[int, Event | None] | Answer | Exception


async def steps(
    bus: Bus, subjects: Subjects, task: Task, answer: Callable[[], Awaitable[Answer]], after: int
) -> AsyncGenerator[Step]:
    """Each item and the sequence of the last event up to it. An answer waits for the events stored before it."""
    queue: asyncio.Queue[_Item] = asyncio.Queue()
    stream, subject = subjects.stream(EVENTS), subjects.event(task.tenant, task.task_id)
    sides = [asyncio.create_task(_events(bus, stream, subject, after, queue)), asyncio.create_task(_end(answer, queue))]
    found: Answer | None = None
    until = 0
    try:
        while found is None or after < until:
            try:
                async with asyncio.timeout(LATE_S if found else None):
                    item = await queue.get()
            except TimeoutError:
                break
            match item:
                case Exception():
                    raise item
                case Answer():
                    found = item
                    newest = await bus.last(stream, subject)
                    until = newest.sequence if newest else 0
                case (after, Event() as event) if event.turn == task.turn:
                    yield after, event
                case (after, _):
                    pass
        if found:
            yield after, found
    finally:
        await end(*sides)


async def _events(bus: Bus, stream: str, subject: str, after: int, queue: asyncio.Queue[_Item]) -> None:
    """Puts every event into the queue, none for one that nobody understands."""
    try:
        async with bus.replay(stream, subject, after) as stored:
            async for received in stored:
                try:
                    event = decode(received.payload, Event, received.headers)
                except InvalidMessage as error:
                    _log.warning("passed over: %s", error, extra={"action": "event_error"})
                    event = None
                queue.put_nowait((received.sequence, event))
    except Exception as error:  # noqa: BLE001 - raised by the reader
        queue.put_nowait(error)


async def _end(answer: Callable[[], Awaitable[Answer]], queue: asyncio.Queue[_Item]) -> None:
    try:
        queue.put_nowait(await answer())
    except Exception as error:  # noqa: BLE001 - raised by the reader
        queue.put_nowait(error)
