"""What only the real broker shows: its restarts, its refusals, its wire."""

from __future__ import annotations

import asyncio
import datetime as dt
import json

import msgspec
import pytest

from harness.deliveries import flight
from harness.nats_server import NatsServer
from metier.topics import wire
from metier.topics.bus import Delivery, Publication, Pull
from metier.topics.errors import BusUnavailable, Conflict, Refused
from metier.topics.inbox import Inbox
from metier.topics.jetstream import JetStreamBus, connect
from metier.topics.streams import Consumer, Stream, streams
from metier.topics.subjects import Subjects

LIMIT_S = 10.0


def flights(subjects: Subjects, ack_wait_s: float = 6.0) -> Consumer:
    subject = flight(subjects)
    return Consumer(stream=subjects.stream("SUBTASKS"), name="flights", subject=subject, ack_wait_s=ack_wait_s)


async def asked(bus: JetStreamBus, consumer: Consumer) -> None:
    """Waits until the server has the request of a pull: it takes requests up after what else it is told."""
    about = f"$JS.API.CONSUMER.INFO.{consumer.stream}.{consumer.name}"
    async with asyncio.timeout(LIMIT_S):
        while not json.loads((await bus._inbox.ask(about, b"")).data)["num_waiting"]:
            pass


async def one(pull: Pull) -> Delivery:
    async with asyncio.timeout(LIMIT_S):
        (delivery,) = await pull.fetch(1)
        return delivery


async def test_acknowledged_messages_outlive_the_death_of_the_server(own_server: NatsServer) -> None:
    subjects, consumer = Subjects(), flights(Subjects())
    async with connect(own_server.url, name="test", subjects=subjects) as bus:
        await bus.ensure(streams(subjects), [consumer])
        assert await bus.publish(Publication(consumer.subject, b"1"))
        own_server.kill()
        own_server.start()
        async with bus.pull(consumer) as pull:
            assert (await one(pull)).payload == b"1"


async def test_a_waiting_pull_and_a_publish_outlive_a_restart_of_the_server(own_server: NatsServer) -> None:
    subjects, consumer = Subjects(), flights(Subjects())
    async with connect(own_server.url, name="test", subjects=subjects) as bus:
        await bus.ensure(streams(subjects), [consumer])
        async with bus.pull(consumer) as pull:
            waiting = asyncio.create_task(pull.fetch(4))
            await asked(bus, consumer)
            own_server.stop()
            publishing = asyncio.create_task(bus.publish(Publication(consumer.subject, b"1")))
            await asyncio.to_thread(own_server.start)
            async with asyncio.timeout(LIMIT_S):
                await publishing
                assert [b"1"] == [delivery.payload for delivery in await waiting]


async def test_a_replay_outlives_a_restart_of_the_server(own_server: NatsServer) -> None:
    subjects = Subjects()
    usage, subject = subjects.stream("USAGE"), subjects.usage("flights")
    async with connect(own_server.url, name="test", subjects=subjects) as bus:
        await bus.ensure(streams(subjects))
        async with bus.replay(usage, subject) as messages, asyncio.timeout(LIMIT_S):
            await bus.publish(Publication(subject, b"1"))
            seen = [await anext(messages)]
            own_server.stop()
            await asyncio.to_thread(own_server.start)
            await bus.publish(Publication(subject, b"2"))
            seen.append(await anext(messages))
    assert [b"1", b"2"] == [message.payload for message in seen]


async def test_a_pull_takes_up_again_when_its_consumer_was_deleted_and_made_anew(
    jetstream: JetStreamBus, subjects: Subjects
) -> None:
    consumer = flights(subjects)
    await jetstream.ensure((), [consumer])
    async with jetstream.pull(consumer) as pull:
        waiting = asyncio.create_task(pull.fetch(4))
        await asked(jetstream, consumer)
        await jetstream._api(f"CONSUMER.DELETE.{consumer.stream}.{consumer.name}", {})
        await jetstream.ensure((), [consumer])
        await jetstream.publish(Publication(consumer.subject, b"1"))
        async with asyncio.timeout(LIMIT_S):
            assert [b"1"] == [delivery.payload for delivery in await waiting]


async def test_a_delivery_that_waits_in_a_left_pull_is_handed_back_without_its_ack_wait(
    jetstream: JetStreamBus, subjects: Subjects
) -> None:
    consumer = flights(subjects, ack_wait_s=60)
    await jetstream.ensure((), [consumer])
    async with jetstream.pull(consumer) as pull:
        waiting = asyncio.create_task(pull.fetch(4))
        await asked(jetstream, consumer)
        waiting.cancel()
        await asyncio.wait([waiting])
        await jetstream.publish(Publication(consumer.subject, b"1"))
        async with asyncio.timeout(LIMIT_S):
            while (await jetstream.lag(consumer)).in_flight != 1:
                pass
    async with jetstream.pull(consumer) as pull:
        assert (await one(pull)).attempt == 2


async def test_an_acknowledgement_is_sent_when_nothing_follows_it_and_when_the_bus_closes(
    server: NatsServer, jetstream: JetStreamBus, subjects: Subjects
) -> None:
    consumer = flights(subjects)
    await jetstream.ensure([], [consumer])

    async def handled() -> None:
        async with asyncio.timeout(LIMIT_S):
            while (await jetstream.lag(consumer)).in_flight:  # noqa: ASYNC110 - asked of another connection
                await asyncio.sleep(0.01)

    for payload in (b"1", b"2"):
        async with connect(server.url, name="other", subjects=subjects) as other:
            await jetstream.publish(Publication(consumer.subject, payload))
            async with other.pull(consumer) as pull:
                delivery = await one(pull)
                await delivery.ack()
                if payload == b"1":
                    await handled()
    await handled()


async def test_no_server_is_an_error_that_says_where_it_looked_but_not_the_password() -> None:
    with pytest.raises(BusUnavailable, match=r"The bus at 127\.0\.0\.1:1 does not answer: ") as caught:
        async with connect("nats://user:secret@127.0.0.1:1", name="test", subjects=Subjects(), wait_s=0.3):
            pass
    assert "secret" not in str(caught.value)


async def test_a_bus_leaves_the_connection_it_was_handed_open(jetstream: JetStreamBus, subjects: Subjects) -> None:
    second = JetStreamBus(jetstream._client, subjects)
    await second.publish(Publication(flight(subjects), b"1"))
    await second.close()
    assert await jetstream.messages(subjects.stream("SUBTASKS")) == 1


async def test_a_change_that_the_server_refuses_is_an_error(jetstream: JetStreamBus, subjects: Subjects) -> None:
    tasks = streams(subjects)[0]
    with pytest.raises(Refused, match=f"stream {tasks.name}: .*storage"):
        await jetstream.ensure([msgspec.structs.replace(tasks, storage="memory")])


async def test_two_consumers_of_the_same_work_are_refused(jetstream: JetStreamBus, subjects: Subjects) -> None:
    first = flights(subjects)
    with pytest.raises(Refused, match="consumer planes of"):
        await jetstream.ensure((), [first, msgspec.structs.replace(first, name="planes")])


async def test_a_ledger_write_whose_acknowledgement_was_lost_is_no_conflict(
    jetstream: JetStreamBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_first_reply(jetstream._inbox, monkeypatch)
    revision = await jetstream.write("task-1", b"plan", 0)
    entry = await jetstream.read("task-1")
    assert entry is not None
    assert (b"plan", revision) == (entry.value, entry.revision)


async def test_a_ledger_write_that_lost_its_race_after_a_lost_acknowledgement_still_conflicts(
    jetstream: JetStreamBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    await jetstream.write("task-1", b"another plan", 0)
    lose_first_reply(jetstream._inbox, monkeypatch)
    with pytest.raises(Conflict):
        await jetstream.write("task-1", b"plan", 0)


async def test_a_publish_whose_acknowledgement_was_lost_is_stored_once(
    jetstream: JetStreamBus, subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_first_reply(jetstream._inbox, monkeypatch)
    await jetstream.publish(Publication(subjects.answer("acme", "task-1", 1), b"the one answer"))
    assert await jetstream.messages(subjects.stream("ANSWERS")) == 1


async def test_a_scheduled_message_waits_in_its_stream_on_a_subject_of_its_own(
    jetstream: JetStreamBus, subjects: Subjects
) -> None:
    due = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    for message_id in ("deadline", "reminder"):
        await jetstream.publish(Publication(subjects.result("task-1"), b"late", {}, message_id, due))
    assert await jetstream.messages(subjects.stream("RESULTS")) == 2
    held = await jetstream.last(subjects.stream("RESULTS"), f"{subjects.root}.schedule.task-1.>")
    assert held is not None
    assert held.headers[wire.SCHEDULE_TARGET] == subjects.result("task-1")


async def test_a_schedule_fires_within_a_quarter_of_a_second(jetstream: JetStreamBus, subjects: Subjects) -> None:
    results = Consumer(stream=subjects.stream("RESULTS"), name="aggregator", subject=subjects.everything("result"))
    await jetstream.ensure((), [results])
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1.1)
    await jetstream.publish(Publication(subjects.result("task-1"), b"late", not_before=due))
    async with jetstream.pull(results) as pull:
        late_s = ((await one(pull)).at - due).total_seconds()
    assert 0 <= late_s < 0.25


@pytest.mark.parametrize(
    "reply",
    [
        "$JS.ACK.SUBTASKS.flights.2.17.9.1700000000123456789.0",
        "$JS.ACK.hub.ABCDEF.SUBTASKS.flights.2.17.9.1700000000123456789.0",
        "$JS.ACK.hub.ABCDEF.SUBTASKS.flights.2.17.9.1700000000123456789.0.rAnDoM",
    ],
)
def test_every_form_of_reply_subject_is_read(reply: str) -> None:
    at = dt.datetime(2023, 11, 14, 22, 13, 20, 123456, dt.UTC)
    assert wire.Receipt(attempt=2, sequence=17, consumer_sequence=9, at=at) == wire.Receipt.parse(reply)


@pytest.mark.parametrize("text", ["2026-11-23T08:50:04Z", "2026-11-23T08:50:04.000000001Z"])
def test_times_with_any_number_of_decimals_are_read(text: str) -> None:
    assert dt.datetime(2026, 11, 23, 8, 50, 4, tzinfo=dt.UTC) == wire.parse_rfc3339(text)


def lose_first_reply(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request reaches the server; its reply is lost on the way back."""
    ask_once = inbox.ask_once
    lost: list[wire.Message | None] = []

    async def lossy(subject: str, payload: bytes, headers: dict[str, str] | None = None) -> wire.Message | None:
        message = await ask_once(subject, payload, headers)
        if lost:
            return message
        lost.append(message)
        return None

    monkeypatch.setattr(inbox, "ask_once", lossy)


async def test_a_connection_can_be_given_up_at_any_moment(own_server: NatsServer) -> None:
    async def hold() -> None:
        async with connect(own_server.url, name="test", subjects=Subjects()):
            await asyncio.Event().wait()

    for moment in range(60):
        holding = asyncio.create_task(hold())
        for _ in range(moment):
            await asyncio.sleep(0)
        holding.cancel()
        async with asyncio.timeout(LIMIT_S):
            await asyncio.wait((holding,))
        assert holding.cancelled()


async def test_a_consumer_from_before_there_were_lanes_makes_way(own_server: NatsServer) -> None:
    subjects = Subjects()
    laned = Consumer(stream="TASKS", name="router", subject=subjects.tasks(), laned=True)
    async with connect(own_server.url, name="test", subjects=subjects) as bus:
        await bus.ensure(
            [Stream(name="TASKS", subjects=("metier.task.>",))],
            [Consumer(stream="TASKS", name="router", subject="metier.task.>")],
        )
        await bus.ensure(streams(subjects), [laned])
        await bus.publish(Publication(subjects.task("acme", "batch"), b"1"))
        async with bus.pull(laned) as pull:
            assert b"1" == (await one(pull)).payload


async def test_an_idle_replica_waits_with_one_request_on_each_lane(jetstream: JetStreamBus, subjects: Subjects) -> None:
    laned = Consumer(
        stream=subjects.stream("SUBTASKS"), name="flights", subject=subjects.subtasks("flights"), laned=True
    )
    await jetstream.ensure((), [laned])
    async with jetstream.pull(laned) as pull:
        for _ in range(3):
            waiting = asyncio.create_task(pull.fetch(8))
            await jetstream.publish(Publication(flight(subjects), b"1"))
            (delivery,) = await waiting
            await delivery.ack()
        waiting = asyncio.create_task(pull.fetch(8))
        for lane in laned.each():
            await asked(jetstream, lane)
        requests = [await waiting_requests(jetstream, lane) for lane in laned.each()]
        waiting.cancel()
    assert {1, 2} >= set(requests)
    assert 18 >= sum(requests)


async def waiting_requests(bus: JetStreamBus, lane: Consumer) -> int:
    reply = await bus._inbox.ask(f"$JS.API.CONSUMER.INFO.{lane.stream}.{lane.name}", b"")
    return int(msgspec.json.decode(reply.data)["num_waiting"])
