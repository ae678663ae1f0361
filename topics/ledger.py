"""Where a task's plan and findings are recorded: one entry per task, changed by compare-and-set."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from .bus import Bus
from .errors import Conflict, UnknownTask
from .messages import Finding, PlanGraph, PlanNode, Recorded, State, Task, Tokens

#: How many plans a writer keeps at hand; older ones are read again.
REMEMBERED = 4096
#: An entry of more bytes does not travel with orders and results: reading it is cheaper.
CARRIED_BYTES = 4096
#: A writer that loses this many races in a row gives the message back.
RACES = 32


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One node of a plan and what became of it."""

    #: Who works on it: a specialist, or a tier of large models.
    specialist: str
    #: Nodes whose findings it waits for.
    needs: tuple[str, ...] = ()
    finding: Finding | None = None
    #: Where its result was sent, as W3C `traceparent`: what a join links to.
    traceparent: str = ""
    #: The tier it was handed to, if its specialist gave it up.
    escalated: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A task as it stands. Changing one gives another."""

    #: The task as accepted; its text grows with each follow-up, a line each.
    task: Task
    turn: int
    deadline: dt.datetime
    nodes: dict[str, Node]
    trace_id: str = ""
    #: What the router's model used.
    routing: Tokens | None = None
    #: How the turn ended; none: it has not. A closed turn never changes.
    status: State | None = None

    def graph(self) -> PlanGraph:
        """The plan as an answer shows it."""
        return PlanGraph(
            nodes=tuple(PlanNode(id=id_, specialist=n.specialist, needs=n.needs) for id_, n in self.nodes.items())
        )

    def with_node(self, id_: str, node: Node) -> Plan:
        """The plan with one node replaced."""
        return msgspec.structs.replace(self, nodes={**self.nodes, id_: node})


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Plan)


Step = Callable[[Plan], Plan]


class _Known(NamedTuple):
    """An entry at hand."""

    plan: Plan
    revision: int
    #: As it is stored; empty where it is too large to travel.
    value: bytes


class _Waiting(NamedTuple):
    """A step that waits for the write before it."""

    turn: int
    step: Step
    #: The entry as whoever asks was told of it.
    told: Recorded | None
    done: asyncio.Future[Plan]


class Ledger:
    """Plans by tenant and task id. Many actors write; nobody waits for a lock on the server."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._known: OrderedDict[str, _Known] = OrderedDict()
        #: Steps that wait, by key of the entry being written.
        self._waiting: dict[str, list[_Waiting]] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def create(self, plan: Plan) -> Plan:
        """Records a plan; if the task has one already, that one is returned and stands."""
        key = _key(plan.task.tenant, plan.task.task_id)
        value = _encoder.encode(plan)
        try:
            revision = await self._bus.write(key, value, 0)
        except Conflict:
            return (await self._read(key)).plan
        self._remember(key, plan, revision, value)
        return plan

    async def read(self, tenant: str, task_id: str) -> Plan:
        """The plan as it stands on the server. Raises UnknownTask."""
        return (await self._read(_key(tenant, task_id))).plan

    def recorded(self, plan: Plan) -> Recorded | None:
        """The entry of a plan that was just written or read, to travel with its orders; none if it is large."""
        known = self._known.get(_key(plan.task.tenant, plan.task.task_id))
        return Recorded(revision=known.revision, value=known.value) if known and known.value else None

    async def _read(self, key: str) -> _Known:
        entry = await self._bus.read(key)
        if entry is None:
            task_id = key.partition(".")[2]
            raise UnknownTask(task_id=task_id, name=task_id)
        return self._remember(key, _decoder.decode(entry.value), entry.revision, entry.value)

    async def change(self, tenant: str, task_id: str, turn: int, step: Step, told: Recorded | None = None) -> Plan:
        """Applies a pure step and returns the plan as recorded. A step that changes nothing returns its argument.

        The plan at hand, or the one told of, is tried first, and read again when another writer was faster or when it
        is of an earlier turn; the step then runs again. Steps of this process that come while an entry is being written
        share the next write. Raises UnknownTask, or Conflict after too many lost races.
        """
        key = _key(tenant, task_id)
        done: asyncio.Future[Plan] = asyncio.get_running_loop().create_future()
        mine = _Waiting(turn, step, told, done)
        if (waiting := self._waiting.get(key)) is not None:
            waiting.append(mine)
        else:
            self._waiting[key] = [mine]
            writing = asyncio.create_task(self._write_all(key))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
        return await done

    async def _write_all(self, key: str) -> None:
        """Writes as long as steps wait, each time all of them at once."""
        while batch := [waiting for waiting in self._waiting[key] if not waiting.done.done()]:
            self._waiting[key] = []
            try:
                plan = await self._write(key, batch)
            except Exception as error:  # noqa: BLE001 - it is raised where each step was asked for
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
            else:
                for waiting in batch:
                    if not waiting.done.done():
                        waiting.done.set_result(plan)
        del self._waiting[key]

    async def _write(self, key: str, batch: list[_Waiting]) -> Plan:
        turn = max(waiting.turn for waiting in batch)
        known = _newest(self._known.get(key), batch)
        revision = 0
        for _ in range(RACES):
            if known is None or known.plan.turn < turn:
                known = await self._read(key)
            plan = changed = known.plan
            for waiting in batch:
                changed = _applied(waiting, changed)
            if changed is plan:
                return plan
            value, revision = _encoder.encode(changed), known.revision
            try:
                revision = await self._bus.write(key, value, revision)
            except Conflict:
                known = None
                continue
            return self._remember(key, changed, revision, value).plan
        raise Conflict(key=key, revision=revision, reason="too many lost races")

    def _remember(self, key: str, plan: Plan, revision: int, value: bytes) -> _Known:
        known = self._known[key] = _Known(plan, revision, value if len(value) <= CARRIED_BYTES else b"")
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known


def _newest(known: _Known | None, batch: list[_Waiting]) -> _Known | None:
    """The entry at hand, or one that somebody was told of since."""
    told = max((w.told for w in batch if w.told), key=lambda each: each.revision, default=None)
    if told is None or (known and known.revision >= told.revision):
        return known
    return _Known(_decoder.decode(told.value), told.revision, told.value)


def _applied(waiting: _Waiting, plan: Plan) -> Plan:
    """The plan after a step; as it was if the step was given up or fails, which is its own caller's affair."""
    if waiting.done.done():
        return plan
    try:
        return waiting.step(plan)
    except Exception as error:  # noqa: BLE001 - it is raised where the step was asked for
        waiting.done.set_exception(error)
        return plan


def _key(tenant: str, task_id: str) -> str:
    return f"{tenant}.{task_id}"
