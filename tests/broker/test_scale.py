"""The scaling policy on a real broker, as Serve's controller calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from harness.deliveries import LIMIT_S, flights, put
from harness.nats_server import NatsServer
from metier.cluster.scale import ByLag
from metier.cluster.sizing import Decision, decision_key
from metier.topics.bus import Bus
from metier.topics.jetstream import connect
from metier.topics.streams import Consumer, streams
from metier.topics.subjects import Subjects

SUBJECTS = Subjects("scaled")


def policy(server: NatsServer, consumer: Consumer) -> ByLag:
    return ByLag(
        url=server.url,
        root=SUBJECTS.root,
        stream=consumer.stream,
        consumer=consumer.name,
        laned=consumer.laned,
        service_s=0.5,
        target_wait_s=1.0,
    )


async def answer(policy: ByLag, now: int, wanted: Callable[[int], bool]) -> int:
    """Calls the policy as often as Serve does, until it gives what is wanted."""
    context: Any = SimpleNamespace(
        target_num_replicas=now,
        current_num_replicas=now,
        capacity_adjusted_min_replicas=0,
        capacity_adjusted_max_replicas=4,
    )
    async with asyncio.timeout(LIMIT_S):
        while not wanted(given := policy(context)[0]):  # noqa: ASYNC110 - as often as Serve does
            await asyncio.sleep(0.1)
    return given


async def decision(bus: Bus, name: str, replicas: int) -> Decision:
    async with asyncio.timeout(LIMIT_S):
        while True:
            entry = await bus.read(decision_key(name))
            if entry and (told := msgspec.json.decode(entry.value, type=Decision)).replicas == replicas:
                return told
            await asyncio.sleep(0.05)


async def test_waiting_work_wakes_an_actor_that_has_no_replica_and_the_reason_is_kept(own_server: NatsServer) -> None:
    async with connect(own_server.url, name="test", subjects=SUBJECTS) as bus:
        await bus.ensure(streams(SUBJECTS))
        consumer = await flights(bus, SUBJECTS)
        await put(bus, SUBJECTS, *(b"%d" % at for at in range(6)))

        assert 3 == await answer(policy(own_server, consumer), 0, lambda given: given > 0)
        told = await decision(bus, consumer.name, 3)

    assert (0, 3) == (told.before, told.replicas)
    assert "6 waiting, 0 in flight, 0.5 s each" == told.why


async def test_the_last_answer_is_held_while_the_broker_is_away(own_server: NatsServer) -> None:
    async with connect(own_server.url, name="test", subjects=SUBJECTS) as bus:
        await bus.ensure(streams(SUBJECTS))
        consumer = await flights(bus, SUBJECTS)
        await put(bus, SUBJECTS, b"1", b"2", b"3")
    scaled = policy(own_server, consumer)
    assert 2 == await answer(scaled, 0, lambda given: given > 0)
    own_server.stop()
    for _ in range(10):
        assert 2 == await answer(scaled, 2, lambda _: True)
        await asyncio.sleep(0.05)
