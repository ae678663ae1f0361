"""The actor that collects results into the ledger, sets the next specialists to work, and answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from opentelemetry import trace

from metier.topics import tracing
from metier.topics.bus import Bus, Delivery
from metier.topics.errors import UnknownTask
from metier.topics.ledger import Ledger, Plan
from metier.topics.messages import Control, Deadline, Event, Result, State, Task
from metier.topics.outbox import Output
from metier.topics.streams import Consumer

from . import policy
from .actor import Tell


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

    async def open(self) -> None:
        """Needs nothing."""

    async def close(self) -> None:
        """Holds nothing."""

    def deadline(self, message: Result | Deadline, delivery: Delivery) -> dt.datetime | None:
        """A result is always worth recording."""
        return None

    async def handle(self, message: Result | Deadline, delivery: Delivery, tell: Tell) -> Sequence[Output]:
        """What the ledger says is next. A message seen before says the same again, so that no crash loses a step."""
        if isinstance(message, Deadline):
            plan = await self._close(message, State.EXPIRED)
            changed = plan.status is State.EXPIRED
        else:
            plan, changed = await self._merge(message)
        if plan.turn != message.turn:
            return []
        if plan.status:
            return [policy.answer(plan, self._roster)] if changed or delivery.attempt > 1 else []
        if isinstance(message, Deadline):
            return []
        node = plan.nodes[message.node]
        if node.escalated and not node.finding:
            await tell(_escalated(plan, message))
            return [policy.order(plan, message.node, self._roster)]
        after = [id_ for id_ in policy.ready(plan) if message.node in plan.nodes[id_].needs]
        return [policy.order(plan, id_, self._roster) for id_ in after]

    def give_up(self, message: Result | Deadline, delivery: Delivery, state: State, reason: str) -> Sequence[Output]:
        """Nothing: the deadline answers for what the ledger cannot record."""
        return ()

    async def cancel(self, control: Control) -> Sequence[Output]:
        """The answer that says so, unless another was given."""
        try:
            plan = await self._ledger.read(control.tenant, control.task_id)
            plan = await self._close(plan.task, State.CANCELLED)
        except UnknownTask:
            return ()
        return [policy.answer(plan, self._roster)]

    async def _merge(self, result: Result) -> tuple[Plan, bool]:
        changed = False

        def step(plan: Plan) -> Plan:
            nonlocal changed
            merged = policy.merge(plan, result, self._roster)
            changed = merged is not plan
            return merged

        plan = await self._ledger.change(result.tenant, result.task_id, result.turn, step)
        span = trace.get_current_span()
        if span.is_recording():
            span.set_attributes(
                {
                    tracing.TASK: result.task_id,
                    tracing.NODE: result.node,
                    tracing.STATE: str(plan.status or result.finding.state),
                }
            )
        return plan, changed

    async def _close(self, of: Task | Deadline, status: State) -> Plan:
        def step(plan: Plan) -> Plan:
            return policy.close(plan, status) if plan.turn == of.turn else plan

        return await self._ledger.change(of.tenant, of.task_id, of.turn, step)


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
