"""Interactive work overtakes batch work, and no tenant waits for another's flood: on both adapters."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from harness.deliveries import LIMIT_S, fetch, flight, flights, one, put
from harness.instant import InstantEncoder
from harness.queueing import ACME, OTHER, Worklist, publish, specialist, subtask, working
from metier.actors.engines.base import Routing
from metier.actors.policy import Roster
from metier.actors.router import Router
from metier.topics.bus import Bus, Publication
from metier.topics.client import Client
from metier.topics.errors import BusUnavailable
from metier.topics.jetstream import JetStreamBus
from metier.topics.lanes import share
from metier.topics.messages import Class, Task
from metier.topics.streams import Consumer, streams
from metier.topics.subjects import Subjects


async def test_an_interactive_task_behind_two_hundred_batch_ones_is_next_but_one(bus: Bus, subjects: Subjects) -> None:
    consumer, tool = await flights(bus, subjects), Worklist(until=5)
    async with working(specialist(consumer, tool, 1), bus, subjects), asyncio.timeout(LIMIT_S):
        await publish(bus, subjects, [subtask(f"b{n}", Class.BATCH) for n in range(200)])
        await tool.began.wait()
        await publish(bus, subjects, [subtask("now")])
        tool.go_on.set()
        await tool.done.wait()
    assert 1 == tool.texts.index("now")


async def test_a_tenants_task_comes_next_but_one_after_five_hundred_of_another(bus: Bus, subjects: Subjects) -> None:
    consumer, tool = await flights(bus, subjects), Worklist(until=5)
    await publish(bus, subjects, [subtask(f"a{n}") for n in range(500)])
    async with working(specialist(consumer, tool, 1), bus, subjects), asyncio.timeout(LIMIT_S):
        await tool.began.wait()
        await publish(bus, subjects, [subtask("other", tenant=OTHER)])
        tool.go_on.set()
        await tool.done.wait()
    assert 1 <= tool.texts.index("other") <= 2


async def test_two_tenants_with_work_are_served_by_turns(bus: Bus, subjects: Subjects) -> None:
    consumer, tool = await flights(bus, subjects), Worklist(until=40)
    await publish(bus, subjects, [subtask(f"a{n}") for n in range(60)])
    await publish(bus, subjects, [subtask(f"z{n}", tenant=OTHER) for n in range(20)])
    tool.go_on.set()
    async with working(specialist(consumer, tool, 1), bus, subjects), asyncio.timeout(LIMIT_S):
        await tool.done.wait()
    assert 18 <= sum(text.startswith("z") for text in tool.texts[:40])


async def test_batch_work_is_not_passed_over_for_ever(bus: Bus, subjects: Subjects) -> None:
    consumer, tool = await flights(bus, subjects), Worklist(until=60)
    await publish(bus, subjects, [subtask(f"i{n}") for n in range(100)])
    await publish(bus, subjects, [subtask(f"b{n}", Class.BATCH) for n in range(20)])
    tool.go_on.set()
    async with working(specialist(consumer, tool, 1), bus, subjects), asyncio.timeout(LIMIT_S):
        await tool.done.wait()
    assert 2 <= sum(text.startswith("b") for text in tool.texts[:60]) <= 5


@pytest.mark.parametrize("concurrency", [1, 3, 8])
async def test_a_replica_never_holds_more_than_it_can_run(bus: Bus, subjects: Subjects, concurrency: int) -> None:
    consumer, tool = await flights(bus, subjects), Worklist(until=64)
    kinds = itertools.cycle(itertools.product(Class, ("acme", "zoe", "default", "x-1")))
    async with working(specialist(consumer, tool, concurrency), bus, subjects), asyncio.timeout(LIMIT_S):
        await publish(bus, subjects, [subtask(f"{n}", *next(kinds)) for n in range(64)])
        while concurrency > tool.at_once:  # noqa: ASYNC110 - a tool tells nobody
            await asyncio.sleep(0.01)
        assert concurrency == (await bus.lag(consumer)).in_flight
        tool.go_on.set()
        while not tool.done.is_set():
            assert concurrency >= tool.at_once
            await asyncio.sleep(0.005)
    assert concurrency == tool.most_at_once


async def test_the_router_reads_a_tenants_task_before_the_flood_of_another(bus: Bus, subjects: Subjects) -> None:
    read: list[str] = []

    class Listing(InstantEncoder):
        async def route(self, text: str) -> Routing:
            read.append(text)
            return await super().route(text)

    client = Client(bus, subjects)
    router = Router(
        bus=bus,
        subjects=subjects,
        consumer=Consumer(stream=subjects.stream("TASKS"), name="router", subject=subjects.tasks(), laned=True),
        concurrency=2,
        encoder=Listing(("flights",)),
        roster=Roster(needs={"flights": ()}),
    )
    await bus.ensure(streams(subjects), [router.consumer])
    try:
        for n in range(500):
            await client.send(Task(task_id=f"a{n}", text=f"flights a{n}", tenant=ACME))
        await client.send(Task(task_id="b", text="flights batch", tenant=OTHER, class_=Class.BATCH))
        await client.send(Task(task_id="z", text="flights other", tenant=OTHER))
        async with working(router, bus, subjects), asyncio.timeout(LIMIT_S):
            while 30 > len(read):  # noqa: ASYNC110 - an encoder tells nobody
                await asyncio.sleep(0.01)
    finally:
        await client.close()
    assert 4 > read.index("flights other")
    assert 30 > read.index("flights batch")


async def test_a_replica_that_is_full_leaves_a_lane_to_another(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    async with bus.pull(consumer) as full, bus.pull(consumer) as idle:
        await put(bus, subjects, b"1")
        await one(full)
        await put(bus, subjects, b"2", b"3")
        await bus.publish(Publication(subjects.subtask("flights", "batch", OTHER), b"4"))
        got: list[bytes] = []
        while len(got) < 3:
            got += [delivery.payload for delivery in await fetch(idle, 8)]
    assert {b"2", b"3", b"4"} == set(got)


async def test_the_lag_of_an_actor_counts_all_its_lanes(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await publish(
        bus,
        subjects,
        [subtask(f"{class_}-{tenant}", class_, tenant) for class_ in Class for tenant in ("acme", "zoe", "default")],
    )
    async with bus.pull(consumer) as pull:
        await one(pull)
        lag = await bus.lag(consumer)
    assert (5, 1) == (lag.waiting, lag.in_flight)


async def test_a_tenant_has_the_same_share_here_and_on_the_server(jetstream: JetStreamBus, subjects: Subjects) -> None:
    for tenant in ("default", "acme", "x-1", "Ünïcode".encode().hex(), "a" * 64):
        await jetstream.publish(Publication(subjects.task(tenant, "batch"), b"{}"))
        stored = await jetstream.last(subjects.stream("TASKS"), f"{subjects.task(tenant, 'batch')}.*")
        assert stored is not None
        assert f"{subjects.task(tenant, 'batch')}.{share(tenant)}" == stored.subject


async def test_a_class_that_does_not_exist_is_refused_at_once(
    bus: Bus, subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.topics.inbox.PAUSE_S", 0.01)
    with pytest.raises(BusUnavailable, match="no stream"):
        await bus.publish(Publication(subjects.task("acme", "urgent"), b"{}"))


async def test_a_redelivered_message_has_the_attempt_that_it_is_whoever_knocked(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        for attempt in range(1, 5):
            delivery = await one(pull)
            assert (attempt, flight(subjects)) == (delivery.attempt, delivery.subject)
            await delivery.nak(0.02)
