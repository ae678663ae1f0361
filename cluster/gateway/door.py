"""What a gateway does on the bus for one tenant's request: accept, look, cancel, go on, wait, follow.

Nothing is kept here. What a task's own messages do not say, that it was accepted and which words belong to which
idempotency key, is written beside its plan in the ledger, where every gateway finds it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from collections.abc import AsyncGenerator
from functools import partial
from uuid import uuid4

import msgspec
from opentelemetry import trace

from metier.topics import tracing
from metier.topics.bus import Bus
from metier.topics.client import GRACE_S
from metier.topics.errors import Busy, Conflict, InvalidToken, Timeout, UnknownTask
from metier.topics.following import Step, steps
from metier.topics.ledger import Ledger, Plan
from metier.topics.load import Load
from metier.topics.messages import Answer, Class, Control, State, Task
from metier.topics.outbox import Outbox
from metier.topics.streams import EVENTS, TASKS
from metier.topics.subjects import Subjects, token

from .answers import Answers
from .bodies import InputBody, Status, TaskBody
from .problems import Problem

#: How long a cancelled task's answer is waited for, in seconds.
CANCEL_S = 1.0


class Accepted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That a gateway accepted a turn of a task: its entry in the ledger."""

    task: Task
    at: dt.datetime
    #: Of what was asked, to know a repetition from another request.
    digest: str = ""


class Found(msgspec.Struct, frozen=True):
    """All that the bus knows of a task."""

    accepted: Accepted | None
    revision: int
    plan: Plan | None
    answer: Answer | None

    @property
    def turn(self) -> int:
        """The latest."""
        turns = (self.accepted and self.accepted.task.turn, self.plan and self.plan.turn)
        return max(*(turn or 0 for turn in turns), self.answer.turn if self.answer else 0)

    @property
    def status(self) -> Status:
        """How the latest turn stands."""
        if self.answer and self.answer.turn == self.turn:
            return self.answer.status.value  # type: ignore[return-value]  # an answer is never "escalate"
        return "running" if self.plan and self.plan.turn == self.turn else "accepted"

    @property
    def deadline(self) -> dt.datetime | None:
        """Of the latest turn, as far as it is known."""
        if self.plan and self.plan.turn == self.turn:
            return self.plan.deadline
        if self.accepted and self.accepted.task.turn == self.turn:
            return self.accepted.at + dt.timedelta(seconds=self.accepted.task.deadline_s)
        return None

    @property
    def left_s(self) -> float:
        """How long its answer may still take."""
        left = (self.deadline - dt.datetime.now(dt.UTC)).total_seconds() if self.deadline else 0.0
        return max(0.0, left) + GRACE_S


_encode = msgspec.json.encode
_decoder = msgspec.json.Decoder(Accepted)


class Door:
    """Opened on a bus by `app.py`."""

    def __init__(self, bus: Bus, subjects: Subjects, load: Load) -> None:
        self.bus = bus
        self.subjects = subjects
        self.load = load
        self.answers = Answers(bus, subjects)
        self._ledger = Ledger(bus)
        self._outbox = Outbox(bus, subjects)

    # ── To the bus ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def accept(self, tenant: str, body: TaskBody, key: str = "", traceparent: str = "") -> Task:
        """Publishes a task; with a key, the same twice is one. Raises Problem, InvalidInput, BusUnavailable."""
        task_id = hashlib.sha256(f"{tenant}\n{key}".encode()).hexdigest()[:32] if key else uuid4().hex
        task = body.task(tenant, task_id).check()
        accepted = Accepted(task=task, at=dt.datetime.now(dt.UTC), digest=digest(body) if key else "")
        if key and await self._repeated(accepted):
            return task
        self.load.check(task)
        try:
            await self.bus.write(entry(tenant, task_id), _encode(accepted), 0)
        except Conflict:
            if await self._repeated(accepted):
                return task
        await self._publish(task, traceparent)
        return task

    async def go_on(self, found: Found, body: InputBody, traceparent: str = "") -> Task:
        """Publishes what a task waits for. Raises Problem if it waits for nothing, or was given something else."""
        answer, asked, before = found.answer, digest(body), found.accepted
        if before and before.task.turn > 1 and before.digest == asked:  # said before
            if found.status == "accepted":
                await self._publish(before.task, traceparent)
            return before.task
        if answer is None or answer.status is not State.INPUT_REQUIRED:
            raise Problem(409, f"The task does not wait for input: it is {found.status}.", kind="no-input-required")
        if found.turn > answer.turn:
            raise Problem(409, "The task was given other input already.", kind="input-given")
        first = before.task if before else found.plan.task if found.plan else None
        task = Task(
            task_id=answer.task_id,
            tenant=answer.tenant,
            turn=answer.turn + 1,
            text=body.text,
            class_=first.class_ if first else Class.INTERACTIVE,
            deadline_s=body.deadline_s,
        ).check()
        accepted = Accepted(task=task, at=dt.datetime.now(dt.UTC), digest=asked)
        try:
            await self.bus.write(entry(task.tenant, task.task_id), _encode(accepted), found.revision)
        except Conflict:  # somebody else was first
            return await self.go_on(await self.found(task.tenant, task.task_id), body, traceparent)
        await self._publish(task, traceparent)
        return task

    async def cancel(self, found: Found, tenant: str, task_id: str) -> Found:
        """Tells every actor to stop, unless the task has ended; how it then stands."""
        if found.answer and found.answer.turn == found.turn:
            return found
        task = Task(task_id=task_id, tenant=tenant, turn=found.turn, text="")
        await self.stop(task)
        try:
            answer = await self.wait(task, CANCEL_S)
        except Timeout:
            return found
        return msgspec.structs.replace(found, answer=answer)

    async def stop(self, task: Task) -> None:
        """Tells every actor that nobody wants the answer."""
        await self._outbox.emit(Control(verb="cancel", task_id=task.task_id, tenant=task.tenant))

    # ── From the bus ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def found(self, tenant: str, task_id: str) -> Found:
        """A task of the tenant. Raises UnknownTask, for another's too."""
        checked(task_id)
        written, plan, answer = await asyncio.gather(
            self.bus.read(entry(tenant, task_id)), self._plan(tenant, task_id), self.answers.stored(tenant, task_id)
        )
        if not (written or plan or answer):
            raise UnknownTask(task_id=task_id, name=task_id)
        accepted = _decoder.decode(written.value) if written else None
        return Found(accepted, written.revision if written else 0, plan, answer)

    async def wait(self, task: Task, limit_s: float) -> Answer:
        """The answer to a turn. Raises Timeout."""
        return await self.answers.wait(task.tenant, task.task_id, task.turn, limit_s)

    async def follow(self, task: Task, after: int, limit_s: float) -> AsyncGenerator[Step]:
        """A turn's events after a sequence, each with its own, then its answer. Raises Timeout."""
        if after:
            # The stream lives in the broker's memory: one that was made anew counts from 1 again.
            newest = await self.bus.last(self.subjects.stream(EVENTS), self.subjects.everything("event"))
            after = after if newest and newest.sequence >= after else 0
        answer = partial(self.wait, task, limit_s)
        followed = steps(self.bus, self.subjects, task, answer, after)
        try:
            async for step in followed:
                yield step
        finally:
            await followed.aclose()

    async def ready(self) -> int:
        """How many tasks wait to be read. Raises BusUnavailable or Unknown."""
        return await self.bus.messages(self.subjects.stream(TASKS))

    # ── Inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _repeated(self, accepted: Accepted) -> bool:
        """Whether the same was accepted before; it is then published again if no actor has seen it."""
        task = accepted.task
        try:
            found = await self.found(task.tenant, task.task_id)
        except UnknownTask:
            return False
        if found.accepted is None or (found.accepted.task.turn == 1 and not _same(found.accepted, accepted)):
            raise Problem(422, "This Idempotency-Key came with another request before.", kind="idempotency-key-reused")
        if found.status == "accepted" and found.turn == 1:
            await self._publish(task, "")
        return True

    async def _plan(self, tenant: str, task_id: str) -> Plan | None:
        try:
            return await self._ledger.read(tenant, task_id)
        except UnknownTask:
            return None

    async def _publish(self, task: Task, traceparent: str) -> None:
        attributes = {tracing.GEN_OPERATION: tracing.INVOKE_WORKFLOW, tracing.TASK: task.task_id}
        context = tracing.extract({tracing.TRACEPARENT: traceparent})
        with tracing.tracer.start_as_current_span(
            tracing.INVOKE_WORKFLOW, context, trace.SpanKind.SERVER, attributes=attributes
        ):
            try:
                await self._outbox.send([task])
            except Busy as refused:
                raise await self.load.turned_away(task, refused) from refused


def checked(task_id: str) -> str:
    """The id, if it can be one. Raises UnknownTask."""
    try:
        return token(task_id)
    except InvalidToken:
        raise UnknownTask(task_id=task_id, name=task_id) from None


def entry(tenant: str, task_id: str) -> str:
    """The ledger's key of what a gateway accepted."""
    return f"{tenant}.{task_id}.accepted"


def digest(body: TaskBody | InputBody) -> str:
    """What tells one request from another."""
    return hashlib.sha256(_encode(body)).hexdigest()


def _same(one: Accepted | None, other: Accepted) -> bool:
    return one is not None and (one.task.turn, one.digest) == (other.task.turn, other.digest)
