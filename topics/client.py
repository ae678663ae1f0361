"""What another service uses: submit a task, follow it, get its one answer."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import msgspec
from opentelemetry import trace
from opentelemetry.trace import Span

from . import tracing
from .bus import Bus
from .codec import decode
from .ending import end
from .errors import Busy, InvalidInput, Timeout, UnknownTask
from .following import Following, Step, steps
from .ledger import Ledger
from .load import Load, door
from .messages import Answer, Class, Context, Control, Privacy, State, Task
from .outbox import Outbox
from .streams import ANSWERS
from .subjects import Subjects

#: Seconds past its deadline after which a task's answer is overdue.
GRACE_S = 10.0
#: A live answer can be lost when a connection breaks, or have come before: the stored one is looked for after this
#: many seconds, then after twice as many, and at last every LOOK_EVERY_S.
FIRST_LOOK_S = 0.25
LOOK_EVERY_S = 2.0


class Client:
    """Speaks for one tenant on a bus it was handed.

    async with connect("nats://127.0.0.1:4222") as client:
        task = await client.submit("Plan a weekend in Paris", context=Context(home="London"))
        async for item in client.follow(task):
            print(item)
    """

    def __init__(self, bus: Bus, subjects: Subjects = Subjects(), *, tenant: str = "default") -> None:  # noqa: B008
        self.bus = bus
        self.subjects = subjects
        self.tenant = tenant
        self._outbox = Outbox(bus, subjects)
        self._load = Load(bus, door(subjects))
        self._waiting: dict[tuple[str, int], asyncio.Task[Answer]] = {}

    # ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(
        self,
        text: str,
        *,
        context: Context = Context(),  # noqa: B008 - frozen
        task_id: str | None = None,
        class_: Class = Class.INTERACTIVE,
        deadline_s: float = 30.0,
        privacy: Privacy = Privacy.ANY,
        budget_usd: float | None = None,
    ) -> Task:
        """Publishes a task and returns it once the bus has it. The same `task_id` twice is one task.

        Raises InvalidInput before anything is sent, Busy or BusUnavailable when it could not be. `Busy.retry_after_s`
        says when to try again, from what waits and how fast it goes.
        """
        return await self.send(
            Task(
                task_id=task_id or uuid4().hex,
                text=text,
                tenant=self.tenant,
                class_=class_,
                deadline_s=deadline_s,
                privacy=privacy,
                budget_usd=budget_usd,
                context=context,
            )
        )

    async def send(self, task: Task) -> Task:
        """Publishes a task as it is, its tenant and turn included; otherwise as `submit`."""
        task.check()
        span = tracing.tracer.start_span(
            tracing.INVOKE_WORKFLOW,
            attributes={tracing.GEN_OPERATION: tracing.INVOKE_WORKFLOW, tracing.TASK: task.task_id},
        )
        waiting = await self._listen(task, span)
        try:
            with trace.use_span(span):
                await self._outbox.send([task])
        except Busy as refused:
            waiting.cancel()
            raise await self._load.turned_away(task, refused) from refused
        except BaseException:
            waiting.cancel()
            raise
        return task

    async def follow_up(self, task: Task | str, text: str, *, deadline_s: float = 30.0) -> Task:
        """Publishes what a task was missing; the same task continues. Raises InvalidInput if it waits for nothing."""
        task_id = task if isinstance(task, str) else task.task_id
        answer = await self.answer(task_id)
        if answer.status is not State.INPUT_REQUIRED:
            raise InvalidInput(reason=f"task {task_id} does not wait for input: it ended {answer.status}")
        return await self.send(
            Task(task_id=task_id, text=text, tenant=self.tenant, turn=answer.turn + 1, deadline_s=deadline_s)
        )

    async def cancel(self, task: Task | str) -> None:
        """Tells every actor to stop. The task's answer then says so, unless it was given already."""
        task_id = task if isinstance(task, str) else task.task_id
        await self._outbox.emit(Control(verb="cancel", task_id=task_id, tenant=self.tenant))

    # ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def result(self, task: Task | str, wait_s: float | None = None, *, turn: int | None = None) -> Answer:
        """The answer to a task's turn, waited for until its deadline is well past. Raises Timeout.

        Of a task known by its id alone it is the latest turn, unless `turn` says which.
        """
        if isinstance(task, str):
            task = await self._found(task, turn)
        limit_s = wait_s if wait_s is not None else task.deadline_s + GRACE_S
        waiting = self._waiting.get((task.task_id, task.turn))
        if waiting is None:  # submitted elsewhere: the answer may stand already
            if stored := await self._stored(self.subjects.answer(task.tenant, task.task_id, task.turn)):
                return stored
            waiting = await self._listen(task, trace.INVALID_SPAN)
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(waiting)
        except TimeoutError:
            raise Timeout(limit_s=limit_s, what=f"no answer to task {task.task_id}") from None

    async def ask(self, text: str, **options: Any) -> Answer:
        """Submits a task and waits for its answer; options as for `submit`."""
        return await self.result(await self.submit(text, **options))

    async def answer(self, task_id: str) -> Answer:
        """The last answer that stands. Raises UnknownTask while there is none."""
        if found := await self._stored(self.subjects.answer(self.tenant, task_id)):
            return found
        raise UnknownTask(task_id=task_id, name=task_id)

    def follow(
        self, task: Task | str, after: int = 0, *, turn: int | None = None, wait_s: float | None = None
    ) -> Following:
        """Progress and tokens as they come, then the answer; what happened before the call comes first.

        It continues where another left off, in this process or not, when given that one's `after`:

            following = client.follow(task_id, after=17)
            async for item in following:
                print(following.after, item)

        `turn` and `wait_s` as for `result`. Raises Timeout when the answer is overdue.
        """
        return Following(self._steps(task, after, turn, wait_s), after)

    async def close(self) -> None:
        """Stops waiting for answers. The bus stays with whoever opened it."""
        await end(*self._waiting.values())

    # ── Inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _steps(
        self, task: Task | str, after: int, turn: int | None, wait_s: float | None
    ) -> AsyncGenerator[Step]:
        if isinstance(task, str):
            task = await self._found(task, turn)
        answer = partial(self.result, task, wait_s)
        async with aclosing(steps(self.bus, self.subjects, task, answer, after)) as found:
            async for step in found:
                yield step

    async def _found(self, task_id: str, turn: int | None) -> Task:
        """A task that another client submitted; its deadline is the time it has left.

        One that nobody has planned yet, or that was answered without a plan, is in its first turn.
        """
        self.subjects.event(self.tenant, task_id)  # raises InvalidToken
        try:
            plan = await Ledger(self.bus).read(self.tenant, task_id)
        except UnknownTask:
            return Task(task_id=task_id, text="", tenant=self.tenant, turn=turn or 1)
        left_s = (plan.deadline - dt.datetime.now(dt.UTC)).total_seconds()
        return msgspec.structs.replace(plan.task, turn=turn or plan.turn, deadline_s=max(0.0, left_s))

    async def _listen(self, task: Task, span: Span) -> asyncio.Task[Answer]:
        """Listens for a turn's answer, from before the task is sent, so that it cannot be missed."""
        key = (task.task_id, task.turn)
        listening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting[key] = asyncio.create_task(self._receive(task, listening))

        def end(done: asyncio.Task[Answer]) -> None:
            self._waiting.pop(key, None)
            span.end()

        waiting.add_done_callback(end)
        await asyncio.wait((listening, waiting), return_when=asyncio.FIRST_COMPLETED)
        return waiting

    async def _receive(self, task: Task, listening: asyncio.Future[None]) -> Answer:
        subject = self.subjects.answer(task.tenant, task.task_id, task.turn)
        async with self.bus.subscribe(subject, confirmed=False) as live:
            listening.set_result(None)
            look_s = FIRST_LOOK_S
            while True:
                try:
                    async with asyncio.timeout(look_s):
                        received = await anext(live)
                except TimeoutError:
                    look_s = min(2 * look_s, LOOK_EVERY_S)
                    if stored := await self._stored(subject):
                        return stored
                else:
                    return decode(received.payload, Answer, received.headers)

    async def _stored(self, subject: str) -> Answer | None:
        stored = await self.bus.last(self.subjects.stream(ANSWERS), subject)
        return decode(stored.payload, Answer, stored.headers) if stored else None


@asynccontextmanager
async def connect(url: str, *, tenant: str = "default", subjects: Subjects = Subjects()) -> AsyncIterator[Client]:  # noqa: B008
    """A client on a connection of its own, closed on exit. Raises BusUnavailable."""
    from . import jetstream  # here: importing the contract loads no NATS client

    async with jetstream.connect(url, name=f"client-{tenant}", subjects=subjects) as bus:
        client = Client(bus, subjects, tenant=tenant)
        try:
            yield client
        finally:
            await client.close()
