"""A full queue refuses at once, and says when to come back by what waits and how fast it goes: on both adapters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from metier.topics.bus import Bus, Publication
from metier.topics.client import Client
from metier.topics.ending import end
from metier.topics.errors import Busy
from metier.topics.load import ROUTER, door
from metier.topics.messages import Class, Result, Task
from metier.topics.streams import Retention, streams
from metier.topics.subjects import Subjects

TASKS_MAX, PER_S = 200, 40


@asynccontextmanager
async def small(bus: Bus, subjects: Subjects, **bounds: int) -> AsyncIterator[Client]:
    """A client of a team whose door is small, and which has a router's consumers."""
    tasks = msgspec.structs.replace(streams(subjects)[0], **bounds)
    await bus.ensure([tasks], list(door(subjects).values()))
    client = Client(bus, subjects, tenant="acme")
    try:
        yield client
    finally:
        await client.close()


class SlowRouter:
    """Takes at most PER_S tasks a second, and knows how many it took."""

    def __init__(self) -> None:
        self.done = 0
        self.began = time.monotonic()

    async def run(self, bus: Bus, subjects: Subjects) -> None:
        async with bus.pull(door(subjects)[ROUTER]) as pull:
            while True:
                for delivery in await pull.fetch(1):
                    await delivery.ack()
                    self.done += 1
                await asyncio.sleep(max(0.0, self.began + self.done / PER_S - time.monotonic()))

    @property
    def per_s(self) -> float:
        return self.done / (time.monotonic() - self.began)


async def fill(client: Client, count: int) -> int:
    """Publishes so many tasks at once, and returns how many were refused."""
    subject = client.subjects.task("acme", "interactive")
    sent = [client.bus.publish(Publication(subject, b"%d" % at)) for at in range(count)]
    return sum(isinstance(end, Busy) for end in await asyncio.gather(*sent, return_exceptions=True))


async def refused(client: Client, **options: Any) -> Busy:
    """Submits tasks until one is refused."""
    for _ in range(2 * TASKS_MAX):
        try:
            await client.submit("red", **options)
        except Busy as busy:
            return busy
    raise AssertionError("the door is never full")


async def test_a_full_queue_says_when_to_come_back_by_what_waits_and_how_fast_it_goes(
    bus: Bus, subjects: Subjects
) -> None:
    async with small(bus, subjects, max_messages=TASKS_MAX) as client:
        await fill(client, TASKS_MAX)
        router = SlowRouter()
        running = asyncio.create_task(router.run(bus, subjects))
        busy = await refused(client, deadline_s=1.0)
        again_s = TASKS_MAX / router.per_s - 1.0
        await end(running)
    assert busy.retry_after_s is not None
    assert f"retry after {busy.retry_after_s} s" in str(busy)
    assert 0.4 * again_s <= busy.retry_after_s <= 2.5 * again_s


async def test_where_nothing_moves_it_is_worth_trying_when_the_deadline_has_passed(
    bus: Bus, subjects: Subjects
) -> None:
    async with small(bus, subjects, max_messages=5) as client:
        assert 0 == await fill(client, 5)
        assert 17 == (await refused(client, deadline_s=17.0)).retry_after_s


async def test_who_publishes_to_a_full_queue_without_a_client_is_told_at_once(bus: Bus, subjects: Subjects) -> None:
    async with small(bus, subjects, max_messages=5) as client:
        assert 4 == await fill(client, 9)


async def test_one_tenant_alone_cannot_fill_the_door(bus: Bus, subjects: Subjects) -> None:
    async with small(bus, subjects, max_messages=50, max_per_subject=10) as client:
        assert 20 == await fill(client, 30)
        assert 10 == await bus.messages(subjects.stream("TASKS"))
        for tenant in ("zoe", "default"):
            assert await client.send(Task(task_id=tenant, text="red", tenant=tenant))
        assert await client.submit("red", class_=Class.BATCH)


async def test_what_was_accepted_finds_no_full_queue_on_its_way(subjects: Subjects) -> None:
    bounded = [s for s in streams(subjects) if s.retention is Retention.WORK and (s.discard_new or s.max_messages)]
    assert [subjects.stream("TASKS")] == [stream.name for stream in bounded]
    assert Result.kind in {stream.subjects[0].split(".")[1] for stream in streams(subjects)}
