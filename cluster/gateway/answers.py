"""All answers of a team as they come, for whoever waits here for one."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict

from metier.topics.bus import Bus
from metier.topics.codec import decode
from metier.topics.errors import MetierError, Timeout
from metier.topics.messages import Answer
from metier.topics.streams import ANSWERS
from metier.topics.subjects import Subjects

log = logging.getLogger("metier.gateway")

#: Between attempts to read on when the broker is away, in seconds.
RETRY_S = 0.5


class Answers:
    """One reader of the stream for all who wait: a request that waits costs the broker nothing."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects
        self._stream = subjects.stream(ANSWERS)
        self._all = subjects.everything("answer")
        self._waiting: defaultdict[str, set[asyncio.Future[Answer]]] = defaultdict(set)

    async def run(self, ready: asyncio.Event) -> None:
        """Reads until cancelled; `ready` is set once no answer can be missed. A broker that is away is waited for."""
        after: int | None = None
        while True:
            try:
                if after is None:
                    newest = await self._bus.last(self._stream, self._all)
                    after = newest.sequence if newest else 0
                async with self._bus.replay(self._stream, self._all, after) as stored:
                    ready.set()
                    async for received in stored:
                        after = received.sequence
                        if received.subject in self._waiting:
                            self._tell(received.subject, decode(received.payload, Answer, received.headers))
            except MetierError as error:
                log.warning("answers: %s", error, extra={"action": "answers_error"})
                await asyncio.sleep(RETRY_S)

    async def stored(self, tenant: str, task_id: str, turn: int | None = None) -> Answer | None:
        """The answer that stands, of a turn or the last."""
        subject = self._subjects.answer(tenant, task_id, turn or "*")
        found = await self._bus.last(self._stream, subject)
        return decode(found.payload, Answer, found.headers) if found else None

    async def wait(self, tenant: str, task_id: str, turn: int, limit_s: float) -> Answer:
        """The answer to a turn, whether it has come or not. Raises Timeout."""
        subject = self._subjects.answer(tenant, task_id, turn)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[subject].add(future)
        try:
            # After listening, so that it comes one way or the other.
            if stored := await self.stored(tenant, task_id, turn):
                return stored
            async with asyncio.timeout(limit_s):
                return await future
        except TimeoutError:
            raise Timeout(limit_s=limit_s, what=f"no answer to task {task_id}") from None
        finally:
            self._waiting[subject].discard(future)
            if not self._waiting[subject]:
                del self._waiting[subject]

    def _tell(self, subject: str, answer: Answer) -> None:
        for future in self._waiting[subject]:
            if not future.done():
                future.set_result(answer)
