"""The actor that collects results into the ledger, sets the next specialists to work, and answers."""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from opentelemetry import trace

from metier.topics import tracing
from metier.topics.bus import Bus, Delivery
from metier.topics.errors import UnknownTask
from metier.topics.ledger import Ledger, Plan
from metier.topics.messages import Control, Deadline, Event, Result, State
from metier.topics.outbox import Output
from metier.topics.streams import Consumer

from . import answers, policy
from .actor import Tell

#: Of so many tasks the aggregator knows without the ledger that they were answered: most deadlines come to those.
ANSWERED_KEPT = 32_768


class Aggregator:
    """Turns results into one answer."""

    name = "aggregator"
    accepts = (Result, Deadline)
    model = ""
    note = ""

    def __init__(self, *, bus: Bus, consumer: Consumer, concurrency: int, roster: policy.Roster) -> None:
        self.consumer = consumer
        self.concurrency = concurrency
        self._ledger = Ledger(bus)
        self._roster = roster
        #: The turn that results ended last, by tenant and task id.
        self._answered: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def open(self) -> None:
        """Needs nothing."""

    async def close(self) -> None:
        """Holds nothing."""

    def deadline(self, message: Result | Deadline, delivery: Delivery) -> dt.datetime | None:
        """A result is always worth recording."""
        return None

    async def handle(self, message: Result | Deadline, delivery: Delivery, tell: Tell) -> Sequence[Output]:
        """What this message makes next.

        Seen before, it says the same again: a crash between record and send loses no step.
        Results of one task may share one write, so each message answers for its own step of it alone.
        """
        if isinstance(message, Deadline) and message.turn <= self._answered.get((message.tenant, message.task_id), 0):
            return []
        before, after = await self._step(message, delivery.headers.get(tracing.TRACEPARENT, ""))
        if after.turn != message.turn:
            return []
        again = before is after and delivery.attempt > 1
        if after.status:
            if before.status and not again:
                return []
            tracing.link(trace.get_current_span(), _results(after, (id_ for id_, _ in policy.sinks(after))))
            if isinstance(message, Result):  # which comes again if this answer is not sent
                self._remember(after)
            return [answers.answer(after, self._roster)]
        if isinstance(message, Deadline):
            return []
        node = after.nodes[message.node]
        if node.escalated and not node.finding:
            await tell(_escalated(after, message))
            return [policy.order(after, message.node, self._roster, self._ledger.recorded(after))]
        began = () if again else policy.ready(before)
        ready = [id_ for id_ in policy.ready(after) if id_ not in began]
        for id_ in ready:
            tracing.link(trace.get_current_span(), _results(after, after.nodes[id_].needs))
        recorded = self._ledger.recorded(after) if ready else None
        return [policy.order(after, id_, self._roster, recorded) for id_ in ready]

    def give_up(self, message: Result | Deadline, delivery: Delivery, state: State, reason: str) -> Sequence[Output]:
        """Nothing: the deadline answers for what the ledger cannot record."""
        return ()

    async def cancel(self, control: Control) -> Sequence[Output]:
        """The answer that says so, unless another was given."""
        try:
            turn = (await self._ledger.read(control.tenant, control.task_id)).turn
            plan = await self._ledger.change(
                control.tenant, control.task_id, turn, lambda plan: policy.close(plan, State.CANCELLED)
            )
        except UnknownTask:
            return ()
        return [answers.answer(plan, self._roster)]

    def _remember(self, plan: Plan) -> None:
        self._answered[plan.task.tenant, plan.task.task_id] = plan.turn
        if len(self._answered) > ANSWERED_KEPT:
            self._answered.popitem(last=False)

    async def _step(self, message: Result | Deadline, traceparent: str) -> tuple[Plan, Plan]:
        """Records a message: the plan right before it, and right after it."""
        before = after = None

        def step(plan: Plan) -> Plan:
            nonlocal before, after
            before = plan
            if isinstance(message, Result):
                after = policy.merge(plan, message, self._roster, traceparent)
            else:
                after = policy.close(plan, State.EXPIRED) if plan.turn == message.turn else plan
            return after

        told = message.recorded if isinstance(message, Result) else None
        await self._ledger.change(message.tenant, message.task_id, message.turn, step, told)
        assert before is not None
        assert after is not None
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attribute(tracing.TASK, message.task_id)
            if isinstance(message, Result):
                span.set_attribute(tracing.NODE, message.node)
                span.set_attribute(tracing.STATE, str(message.finding.state))
        return before, after


def _results(plan: Plan, nodes: Iterable[str]) -> list[str]:
    """Where the results of these nodes were sent from."""
    return [plan.nodes[id_].traceparent for id_ in nodes]


def _escalated(plan: Plan, result: Result) -> Event:
    return Event(
        task_id=result.task_id,
        tenant=result.tenant,
        turn=result.turn,
        what="escalated",
        node=result.node,
        specialist=plan.nodes[result.node].escalated or "",
        text=result.finding.reason or "",
    )
