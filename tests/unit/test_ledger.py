"""The ledger: what is read from the bus, what is told, and what is written."""

from __future__ import annotations

import datetime as dt

import msgspec

from harness.counted import CountedBus
from metier.topics.ledger import CARRIED_BYTES, Ledger, Node, Plan
from metier.topics.memory import MemoryBus
from metier.topics.messages import Finding, Recorded, State, Task
from metier.topics.streams import streams
from metier.topics.subjects import Subjects

SUBJECTS = Subjects("test")
TASK = Task(task_id="t-1", tenant="acme", text="a hotel in Nîmes")
PLAN = Plan(
    task=TASK,
    turn=1,
    deadline=dt.datetime(2026, 11, 27, 9, 30, tzinfo=dt.UTC),
    nodes={name: Node(specialist=name) for name in ("hotels", "guide")},
)


async def made(bus: MemoryBus) -> tuple[Plan, Recorded]:
    """A plan in the ledger, and what its orders carry."""
    await bus.ensure(streams(SUBJECTS))
    ledger = Ledger(bus)
    plan = await ledger.create(PLAN)
    recorded = ledger.recorded(plan)
    assert recorded
    return plan, recorded


async def found(ledger: Ledger, node: str, told: Recorded | None) -> Plan:
    """The plan once a node has its finding."""

    def step(plan: Plan) -> Plan:
        finding = Finding(state=State.OK, specialist=node)
        return plan.with_node(node, msgspec.structs.replace(plan.nodes[node], finding=finding))

    return await ledger.change("acme", "t-1", 1, step, told)


async def test_who_is_told_of_an_entry_need_not_read_it() -> None:
    bus = CountedBus(SUBJECTS)
    _, recorded = await made(bus)

    changed = await found(Ledger(bus), "hotels", recorded)

    assert 0 == bus.reads
    assert changed == await Ledger(bus).read("acme", "t-1")


async def test_who_is_told_of_nothing_reads() -> None:
    bus = CountedBus(SUBJECTS)
    await made(bus)
    await found(Ledger(bus), "hotels", None)

    assert 1 == bus.reads


async def test_an_entry_that_has_changed_since_is_read_and_nothing_is_lost() -> None:
    bus = CountedBus(SUBJECTS)
    _, recorded = await made(bus)
    await found(Ledger(bus), "hotels", recorded)

    changed = await found(Ledger(bus), "guide", recorded)

    assert 1 == bus.reads
    assert {"hotels", "guide"} == {name for name, node in changed.nodes.items() if node.finding}


async def test_the_entry_at_hand_is_not_older_than_the_one_told_of() -> None:
    bus = CountedBus(SUBJECTS)
    _, recorded = await made(bus)
    ledger = Ledger(bus)
    await found(ledger, "hotels", recorded)
    changed = await found(ledger, "guide", recorded)

    assert 0 == bus.reads
    assert {"hotels", "guide"} == {name for name, node in changed.nodes.items() if node.finding}


async def test_of_the_entry_at_hand_and_the_one_told_of_the_newer_is_tried() -> None:
    bus = CountedBus(SUBJECTS)
    await made(bus)
    ledger, other = Ledger(bus), Ledger(bus)
    await ledger.read("acme", "t-1")
    told = other.recorded(await found(other, "hotels", None))
    before = bus.reads
    changed = await found(ledger, "guide", told)

    assert before == bus.reads
    assert {"hotels", "guide"} == {name for name, node in changed.nodes.items() if node.finding}


async def test_a_large_entry_does_not_travel() -> None:
    bus = MemoryBus(SUBJECTS)
    await bus.ensure(streams(SUBJECTS))
    ledger = Ledger(bus)
    large = msgspec.structs.replace(PLAN, task=msgspec.structs.replace(TASK, text="x" * CARRIED_BYTES))

    assert ledger.recorded(await ledger.create(large)) is None
