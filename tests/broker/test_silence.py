"""A host that loses its power or its cable says nothing: no connection ends, requests stand, deliveries go nowhere."""

from __future__ import annotations

import asyncio
import json

import pytest

from harness.deliveries import fetch, flight, flights, one, put
from harness.nats_server import NatsServer
from harness.wires import wire
from metier.topics.ending import end
from metier.topics.jetstream import JetStreamBus, connect
from metier.topics.streams import Consumer, streams
from metier.topics.subjects import Subjects

LIMIT_S = 30.0
ACK_WAIT_S = 0.5


@pytest.mark.parametrize("laned", [True, False], ids=["lanes", "plain"])
async def test_a_replica_that_fell_silent_leaves_attempts_to_the_next(
    jetstream: JetStreamBus, subjects: Subjects, laned: bool
) -> None:
    consumer = await flights(jetstream, subjects, laned, ack_wait_s=ACK_WAIT_S)
    async with jetstream.pull(consumer) as silent:
        await put(jetstream, subjects, b"0")
        await (await fetch(silent, 64))[0].ack()
        await put(jetstream, subjects, b"1", b"2", b"3")
        await fetch(silent, 64)  # the last it does; there is room for many more, which the server was asked for
        await nobody_asks(jetstream, consumer, subjects)
        async with jetstream.pull(consumer) as other:
            attempts = {delivery.payload: delivery.attempt for delivery in [await one(other) for _ in range(3)]}

    assert {b"1", b"2", b"3"} == set(attempts)
    assert consumer.max_attempts > max(attempts.values())


async def test_a_server_that_fell_silent_is_left_for_another(
    server: NatsServer, own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.topics.jetstream._PING_S", 0.5)
    async with (
        wire(server.port) as a,
        wire(own_server.port) as b,
        connect(f"nats://127.0.0.1:{a.port},nats://127.0.0.1:{b.port}", name="test", subjects=Subjects()) as bus,
    ):
        silent, other = (a, b) if port(bus) == a.port else (b, a)
        await silent.cut()
        async with asyncio.timeout(LIMIT_S):
            while port(bus) != other.port:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


async def test_who_stops_waiting_for_a_flush_leaves_the_connection_hearing(
    own_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.topics.jetstream._PING_S", LIMIT_S)
    async with connect(own_server.url, name="test", subjects=Subjects()) as bus:
        await bus.ensure(streams(Subjects()), [])
        with own_server.frozen():
            flushing = asyncio.create_task(bus._connection.flush())
            await asyncio.sleep(0.05)  # its PING is sent; the PONG waits until the server goes on
            await end(flushing)
        async with asyncio.timeout(LIMIT_S):
            assert await bus.messages(Subjects().stream("TASKS")) == 0
        assert bus._connection.connects == 0


def port(bus: JetStreamBus) -> int | None:
    url = bus._client.connected_url
    return url.port if url else None


async def nobody_asks(bus: JetStreamBus, consumer: Consumer, subjects: Subjects) -> None:
    """Waits until the server has no request left for what was put."""
    (lane,) = (lane for lane in consumer.each() if lane.subject in (flight(subjects), consumer.subject))
    about = f"$JS.API.CONSUMER.INFO.{lane.stream}.{lane.name}"
    async with asyncio.timeout(LIMIT_S):
        while json.loads((await bus._inbox.ask(about, b"")).data)["num_waiting"]:
            pass
