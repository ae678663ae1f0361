"""One call instead of three: a request on `ask.{tenant}.{class}` is replied to with the task's answer.

The task is published like any other, so the answer comes whatever dies. The reply is the asker's own affair: if who
was to send it dies, or the asker stops waiting, it is lost, and the answer still stands on its subject. The same
`task_id` asked again gives the same answer.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from uuid import uuid4

import msgspec
from opentelemetry.context import attach

from . import tracing
from .bus import Bus, Received
from .client import Client
from .codec import decode, encode
from .ending import end
from .errors import Busy, InvalidInput, MetierError, Timeout, Unavailable
from .load import Load, door
from .messages import Answer, Task
from .subjects import Subjects

#: What a refusal says, in headers; its body is empty. Source: NATS architecture decision record 32.
ERROR, ERROR_CODE = "Nats-Service-Error", "Nats-Service-Error-Code"
#: With code 429: seconds after which to ask again, from what waits and how fast it goes.
RETRY_AFTER = "Retry-After"
#: Askers that one process waits for; more are told to ask later.
ROOM = 1_000

_CODES: dict[type[MetierError], int] = {InvalidInput: 400, Busy: 429, Unavailable: 503, Timeout: 504}


class Asking:
    """Publishes what is asked and replies with the answers. Several share the work: each request reaches one."""

    def __init__(self, bus: Bus, subjects: Subjects, load: Load | None = None) -> None:
        #: Set once it hears requests.
        self.working = asyncio.Event()
        self._bus = bus
        self._subjects = subjects
        #: What waits for the team, as far as is known here.
        self._load = load or Load(bus, door(subjects))
        #: When the last replies were sent.
        self._replied_at: deque[float] = deque(maxlen=ROOM)
        self._replying: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Replies until it is cancelled; whoever still waits then is told to ask again."""
        measuring = asyncio.create_task(self._load.run())
        try:
            async with self._bus.subscribe(self._subjects.everything("ask"), group="ask") as requests:
                self.working.set()
                async for request in requests:
                    replying = asyncio.create_task(self._reply(request))
                    self._replying.add(replying)
                    replying.add_done_callback(self._replying.discard)
        finally:
            await end(*self._replying, measuring)

    async def _reply(self, request: Received) -> None:
        try:
            payload, headers = encode(await self._answer(request)), {}
            self._replied_at.append(time.monotonic())
        except MetierError as error:
            payload, headers = b"", refusal(error)
        except asyncio.CancelledError:
            gone = Unavailable(what="Who was asked", reason="it stops; ask again with the same task_id")
            payload, headers = b"", refusal(gone)
        if request.reply_to:
            await self._bus.emit(request.reply_to, payload, headers)

    async def _answer(self, request: Received) -> Answer:
        if context := tracing.extract(request.headers):
            attach(context)
        task = decode(request.payload, Task, request.headers)
        if not task.task_id:
            task = msgspec.structs.replace(task, task_id=uuid4().hex)
        task.check()
        if (wanted := self._subjects.ask(task.tenant, task.class_)) != request.subject:
            raise InvalidInput(reason=f"a task of that tenant and class is asked on {wanted}, not on {request.subject}")
        if len(self._replying) > ROOM:
            again_s = math.ceil(self._room_s(task))
            reason = f"{ROOM} askers wait here already; retry after {again_s} s"
            raise Busy(reason=reason, retry_after_s=again_s)
        self._load.check(task)
        client = Client(self._bus, self._subjects, tenant=task.tenant)
        try:
            return await client.result(await client.send(task))
        finally:
            await client.close()

    def _room_s(self, task: Task) -> float:
        """Seconds until those who wait were replied to, at the pace of the last replies; before any, all are by their
        deadlines."""
        if len(self._replied_at) < 2:
            return task.deadline_s
        return len(self._replying) * (time.monotonic() - self._replied_at[0]) / len(self._replied_at)


def refusal(error: MetierError) -> dict[str, str]:
    """The headers of a reply that is no answer."""
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), 500)
    again = {RETRY_AFTER: f"{error.retry_after_s:.0f}"} if isinstance(error, Busy) and error.retry_after_s else {}
    return refused(code, str(error)) | again


def refused(code: int, reason: str) -> dict[str, str]:
    """The same of a code and a sentence, on one line of ASCII as headers are."""
    line = " ".join(reason.split()).encode("ascii", "backslashreplace").decode()
    return {ERROR_CODE: str(code), ERROR: line}
