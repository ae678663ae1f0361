"""The actor that reads a task, writes its plan to the ledger and sets the first specialists to work."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from opentelemetry import trace
from opentelemetry.trace import Span

from metier.topics import tracing
from metier.topics.bus import Bus, Delivery
from metier.topics.errors import InvalidInput, UnknownTask
from metier.topics.ledger import Ledger, Node, Plan
from metier.topics.messages import Control, Deadline, State, Task, Tokens
from metier.topics.outbox import Later, Output
from metier.topics.streams import ESCALATIONS, SUBTASKS, Consumer
from metier.topics.subjects import Subjects

from . import answers, policy
from .actor import Tell
from .engines.base import Encoder

#: Subtasks and escalations that may wait before the router takes no more tasks, and how often they are counted, in
#: seconds: the door fills then, and says so.
WITHIN, COUNT_EVERY_S = 100_000, 1.0

NOBODY = "nobody on this team does that, and it has no larger model to ask"


class Router:
    """Turns tasks into plans."""

    name = "router"
    accepts = (Task,)
    note = ""

    def __init__(
        self,
        *,
        bus: Bus,
        subjects: Subjects,
        consumer: Consumer,
        concurrency: int,
        encoder: Encoder,
        roster: policy.Roster,
    ) -> None:
        self.consumer = consumer
        self.concurrency = concurrency
        self._subjects = subjects
        self._bus = bus
        self._ledger = Ledger(bus)
        #: Tasks that may still be taken before what waits is counted again, and when it was counted.
        self._room, self._counted_at = 0, 0.0
        self._counting = asyncio.Lock()
        self._encoder = encoder
        self._roster = roster

    @property
    def model(self) -> str:
        """The encoder, as shown."""
        return self._encoder.model

    async def open(self) -> None:
        """Loads the encoder."""
        await self._encoder.load()

    async def close(self) -> None:
        """Frees the encoder."""
        await self._encoder.close()

    def deadline(self, message: Task, delivery: Delivery) -> dt.datetime | None:
        """Counted from the moment the stream accepted the task."""
        return delivery.at + dt.timedelta(seconds=message.deadline_s)

    async def handle(self, message: Task, delivery: Delivery, tell: Tell) -> Sequence[Output]:
        """A plan in the ledger, orders to those who can start, and the task's deadline."""
        task = accepted(message, delivery)
        await self._room_within()
        try:
            task.check()
            self._check_subject(task, delivery.subject)
            plan = await (self._follow_up(task, delivery) if task.turn > 1 else self._plan(task, delivery))
        except InvalidInput as error:
            return self.give_up(task, delivery, State.FAILED, str(error))
        if not plan.nodes:
            return self.give_up(task, delivery, State.FAILED, NOBODY)
        await tell(policy.planned(plan))
        end = Deadline(task_id=task.task_id, tenant=task.tenant, turn=plan.turn)
        recorded = self._ledger.recorded(plan)
        orders = [policy.order(plan, id_, self._roster, recorded) for id_ in policy.ready(plan)]
        return [*orders, Later(end, plan.deadline)]

    def give_up(self, message: Task, delivery: Delivery, state: State, reason: str) -> Sequence[Output]:
        """The answer, at once: without a plan nobody else would give it."""
        task = accepted(message, delivery)
        return [answers.unplanned(task, state, reason, tracing.trace_id(trace.get_current_span()))]

    async def cancel(self, control: Control) -> Sequence[Output]:
        """Nothing: the aggregator answers."""
        return ()

    async def _room_within(self) -> None:
        """Returns when the team can take more work: what the router accepts, the streams behind it must hold."""
        async with self._counting:
            while self._room <= 0 or time.monotonic() - self._counted_at >= COUNT_EVERY_S:
                names = [self._subjects.stream(stream) for stream in (SUBTASKS, ESCALATIONS)]
                self._room = WITHIN - sum(await asyncio.gather(*map(self._bus.messages, names)))
                self._counted_at = time.monotonic()
                if self._room <= 0:
                    await asyncio.sleep(COUNT_EVERY_S)
            self._room -= 1

    def _check_subject(self, task: Task, subject: str) -> None:
        tenant, class_ = self._subjects.parse_task(subject)
        if (tenant, class_) != (task.tenant, task.class_):
            published = self._subjects.published(subject)
            raise InvalidInput(
                reason=f"the task says tenant {task.tenant!r} and class {str(task.class_)!r}, its subject {published!r}"
            )

    async def _plan(self, task: Task, delivery: Delivery) -> Plan:
        with tracing.tracer.start_as_current_span(tracing.PLAN, attributes={tracing.GEN_OPERATION: "plan"}) as span:
            task, nodes, routing = await self._read(task, span)
            plan = Plan(
                task=task,
                turn=task.turn,
                deadline=delivery.at + dt.timedelta(seconds=task.deadline_s),
                nodes=nodes,
                trace_id=tracing.trace_id(span),
                routing=routing,
            )
            if span.is_recording():
                span.set_attributes({tracing.TASK: task.task_id, "metier.plan": ", ".join(nodes)})
            return await self._ledger.create(plan) if nodes else plan

    async def _read(self, task: Task, span: Span) -> tuple[Task, dict[str, Node], Tokens | None]:
        """The task, private if it seems so; whom it names, or whom the encoder chooses; and what the encoder used."""
        if task.specialists:
            return task, policy.named(task.specialists, self._roster), None
        routing = await self._encoder.route(task.text)
        if span.is_recording():
            span.set_attributes(
                {
                    tracing.GEN_MODEL: routing.model,
                    tracing.GEN_INPUT_TOKENS: routing.tokens,
                    "metier.open": round(routing.open, 4),
                    "metier.private": round(routing.private, 4),
                }
            )
        used = Tokens(model=routing.model, prompt=routing.tokens, seconds=routing.seconds)
        return policy.confided(task, routing, self._roster), policy.nodes(routing, self._roster), used

    async def _follow_up(self, task: Task, delivery: Delivery) -> Plan:
        """The plan with what was missing, or as it is if this follow-up was seen before."""
        deadline = delivery.at + dt.timedelta(seconds=task.deadline_s)
        task = policy.confided(task, await self._encoder.route(task.text), self._roster)

        def step(plan: Plan) -> Plan:
            if plan.turn >= task.turn:
                return plan
            if plan.turn != task.turn - 1 or plan.status is not State.INPUT_REQUIRED:
                ended = plan.status or "not ended"
                raise InvalidInput(reason=f"task {task.task_id} does not wait for input: turn {plan.turn} is {ended}")
            return policy.follow_up(plan, task, deadline)

        try:
            plan = await self._ledger.read(task.tenant, task.task_id)
            return await self._ledger.change(task.tenant, task.task_id, plan.turn, step)
        except UnknownTask as error:
            raise InvalidInput(reason=error) from error


def accepted(task: Task, delivery: Delivery) -> Task:
    """The task with what its sender left open: a name from its place in the stream, the day it came."""
    changes: dict[str, Any] = {}
    if not task.task_id:
        changes["task_id"] = f"task-{delivery.sequence}"
    if task.context.date is None:
        try:
            day = delivery.at.astimezone(ZoneInfo(task.context.time_zone)).date()
        except (LookupError, OSError, ValueError):
            day = delivery.at.date()  # the zone is refused by `Task.check`, with its reason
        changes["context"] = msgspec.structs.replace(task.context, date=day)
    return msgspec.structs.replace(task, **changes) if changes else task
