"""What every bus promises, asked of both: JetStream and the one in memory."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

import pytest

from metier.topics.bus import REPLY_TO, Bus, Delivery, Lag, Publication, Pull
from metier.topics.errors import AlreadyAnswered, BusUnavailable, Busy, Conflict, Unknown
from metier.topics.streams import Consumer, Retention, Stream, streams
from metier.topics.subjects import Subjects

LIMIT_S = 5.0
#: Long enough that something wrongly delivered would have come.
QUIET_S = 0.4


async def flights(bus: Bus, subjects: Subjects, ack_wait_s: float = 6.0, max_attempts: int = 5) -> Consumer:
    consumer = Consumer(
        stream=subjects.stream("SUBTASKS"),
        name="flights",
        subject=subjects.subtask("flights"),
        ack_wait_s=ack_wait_s,
        max_attempts=max_attempts,
    )
    await bus.ensure((), [consumer])
    return consumer


async def put(bus: Bus, subjects: Subjects, *payloads: bytes) -> None:
    for payload in payloads:
        await bus.publish(Publication(subjects.subtask("flights"), payload))


async def fetch(pull: Pull, room: int = 1) -> Sequence[Delivery]:
    async with asyncio.timeout(LIMIT_S):
        return await pull.fetch(room)


async def one(pull: Pull) -> Delivery:
    (delivery,) = await fetch(pull)
    return delivery


async def nothing_comes(pull: Pull) -> bool:
    try:
        async with asyncio.timeout(QUIET_S):
            await pull.fetch(1)
    except TimeoutError:
        return True
    return False


async def settled(bus: Bus, consumer: Consumer) -> bool:
    """Whether every acknowledgement was read: the server may need several looks for it."""
    for _ in range(1000):
        if await bus.lag(consumer) == Lag(0, 0):
            return True
    return False


async def test_a_published_message_is_delivered_with_its_headers(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await bus.publish(Publication(consumer.subject, b"London to Paris", {"traceparent": "00-a-b-01"}))
    async with bus.pull(consumer) as pull:
        delivery = await one(pull)
    assert (b"London to Paris", consumer.subject) == (delivery.payload, delivery.subject)
    assert delivery.headers["traceparent"] == "00-a-b-01"


async def test_a_first_delivery_knows_its_attempt_place_and_time(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, b"1", b"2")
    async with bus.pull(consumer) as pull:
        deliveries = [await one(pull), await one(pull)]
    assert [(1, 1), (1, 2)] == [(delivery.attempt, delivery.sequence) for delivery in deliveries]
    assert abs(dt.datetime.now(dt.UTC) - deliveries[0].at) < dt.timedelta(seconds=LIMIT_S)


async def test_a_message_id_is_stored_once(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    publication = Publication(consumer.subject, b"1", message_id="task-1.flights")
    assert [True, False] == [await bus.publish(publication), await bus.publish(publication)]
    assert await bus.messages(consumer.stream) == 1


async def test_messages_without_an_id_are_all_stored(bus: Bus, subjects: Subjects) -> None:
    await put(bus, subjects, b"same", b"same")
    assert await bus.messages(subjects.stream("SUBTASKS")) == 2


async def test_a_subject_that_no_stream_takes_is_an_error(
    bus: Bus, subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metier.topics.inbox.PAUSE_S", 0.01)
    with pytest.raises(BusUnavailable, match="no stream"):
        await bus.publish(Publication(f"{subjects.root}.nowhere", b""))


async def test_an_acknowledged_message_leaves_the_work_queue(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        await (await one(pull)).ack()
        assert await settled(bus, consumer)
    assert await bus.messages(consumer.stream) == 0


async def test_a_nak_delivers_again_after_its_delay(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        clock = asyncio.get_running_loop().time
        before = clock()
        await (await one(pull)).nak(0.2)
        again = await one(pull)
    assert (2, b"1") == (again.attempt, again.payload)
    assert clock() - before >= 0.2


async def test_a_terminated_message_never_comes_again(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects, ack_wait_s=0.2)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        await (await one(pull)).term()
        assert await nothing_comes(pull)
    assert await bus.messages(consumer.stream) == 0


async def test_an_unsettled_message_comes_again_after_its_ack_wait(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects, ack_wait_s=0.3)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        assert [1, 2] == [(await one(pull)).attempt, (await one(pull)).attempt]


async def test_no_message_is_delivered_more_often_than_allowed(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects, max_attempts=2)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        await (await one(pull)).nak()
        await (await one(pull)).nak()
        assert await nothing_comes(pull)


async def test_in_progress_keeps_a_message_past_its_ack_wait(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects, ack_wait_s=0.6)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        delivery = await one(pull)
        for _ in range(2):
            assert await nothing_comes(pull)
            await delivery.in_progress()
        await delivery.ack()
        assert await settled(bus, consumer)


async def test_a_fetch_never_gives_more_than_there_is_room_for(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, *(b"%d" % n for n in range(5)))
    async with bus.pull(consumer) as pull:
        fetched: list[bytes] = []
        while len(fetched) < 5:
            deliveries = await fetch(pull, 2)
            assert 1 <= len(deliveries) <= 2
            fetched += [delivery.payload for delivery in deliveries]
    assert [b"0", b"1", b"2", b"3", b"4"] == fetched


async def test_a_pull_with_little_room_leaves_the_rest_to_others(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    async with bus.pull(consumer) as narrow, bus.pull(consumer) as wide:
        await put(bus, subjects, *(b"%d" % n for n in range(6)))
        held = await one(narrow)
        others: list[Delivery] = []
        while len(others) < 5:
            others += await fetch(wide, 8)
    assert {b"0", b"1", b"2", b"3", b"4", b"5"} == {held.payload, *(delivery.payload for delivery in others)}


async def test_a_pull_with_less_room_than_before_keeps_none_back(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    async with bus.pull(consumer) as shrinking, bus.pull(consumer) as other:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await shrinking.fetch(8)
        waiting = asyncio.create_task(shrinking.fetch(1))
        await asyncio.sleep(0.05)
        await put(bus, subjects, b"1", b"2", b"3")
        async with asyncio.timeout(LIMIT_S):
            fetched = list(await waiting)
        assert len(fetched) == 1
        while len(fetched) < 3:
            fetched += await fetch(other, 8)
    assert {b"1", b"2", b"3"} == {delivery.payload for delivery in fetched}


async def test_a_cancelled_fetch_loses_nothing(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    async with bus.pull(consumer) as pull:
        waiting = asyncio.create_task(pull.fetch(1))
        await asyncio.sleep(0)
        await put(bus, subjects, b"1")
        waiting.cancel()
        await asyncio.wait([waiting])
        delivery = await one(pull) if waiting.cancelled() else waiting.result()[0]
    assert (1, b"1") == (delivery.attempt, delivery.payload)


async def test_leaving_a_pull_hands_back_at_once_what_was_not_fetched(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects, ack_wait_s=60)
    async with bus.pull(consumer) as leaving:
        waiting = asyncio.create_task(leaving.fetch(8))
        await asyncio.sleep(0)
        waiting.cancel()
        await put(bus, subjects, b"1", b"2", b"3")
    async with bus.pull(consumer) as staying:
        fetched: list[Delivery] = []
        while len(fetched) < 3:
            fetched += await fetch(staying, 8)
    assert {b"1", b"2", b"3"} == {delivery.payload for delivery in fetched}


async def test_a_pull_waits_for_its_consumer_to_exist(bus: Bus, subjects: Subjects) -> None:
    consumer = Consumer(stream=subjects.stream("SUBTASKS"), name="flights", subject=subjects.subtask("flights"))
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        waiting = asyncio.create_task(pull.fetch(1))
        await asyncio.sleep(0.05)
        await bus.ensure((), [consumer])
        async with asyncio.timeout(LIMIT_S):
            assert [b"1"] == [delivery.payload for delivery in await waiting]


async def test_the_first_answer_stands(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.answer("acme", "task-1", 1)
    await bus.publish(Publication(subject, b"first", message_id="a"))
    with pytest.raises(AlreadyAnswered, match=r"task-1\.1 already holds"):
        await bus.publish(Publication(subject, b"second", message_id="b"))
    last = await bus.last(subjects.stream("ANSWERS"), subject)
    assert last is not None
    assert last.payload == b"first"


async def test_a_full_stream_is_busy(bus: Bus, subjects: Subjects) -> None:
    subject = f"{subjects.root}.small.a"
    small = Stream(
        name=subjects.stream("SMALL"),
        subjects=(subjects.everything("small"),),
        retention=Retention.LIMITS,
        max_messages=1,
        discard_new=True,
    )
    await bus.ensure([small])
    await bus.publish(Publication(subject, b"1"))
    with pytest.raises(Busy, match="is full"):
        await bus.publish(Publication(subject, b"2"))


async def test_a_ledger_entry_is_made_once_and_replaced_by_who_knows_its_revision(bus: Bus, subjects: Subjects) -> None:
    created = await bus.write("task-1", b"plan", 0)
    updated = await bus.write("task-1", b"plan and result", created)
    entry = await bus.read("task-1")
    assert entry is not None
    assert (b"plan and result", updated) == (entry.value, entry.revision)
    assert updated > created


@pytest.mark.parametrize("revision", [0, 41])
async def test_a_ledger_write_on_another_revision_conflicts(bus: Bus, revision: int) -> None:
    await bus.write("task-1", b"plan", 0)
    with pytest.raises(Conflict, match=f"entry task-1 .* revision {revision} is not the last"):
        await bus.write("task-1", b"other plan", revision)


async def test_an_unwritten_ledger_entry_is_none(bus: Bus) -> None:
    assert await bus.read("task-404") is None


async def test_a_scheduled_message_does_not_come_before_its_time(bus: Bus, subjects: Subjects) -> None:
    results = Consumer(stream=subjects.stream("RESULTS"), name="aggregator", subject=subjects.everything("result"))
    await bus.ensure((), [results])
    due = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=0.7)
    late = Publication(subjects.result("task-1"), b"late", {"traceparent": "00-a-b-01"}, "task-1.deadline", due)
    assert [True, False] == [await bus.publish(late), await bus.publish(late)]
    async with bus.pull(results) as pull:
        delivery = await one(pull)
        assert dt.datetime.now(dt.UTC) >= due
        assert (subjects.result("task-1"), b"late") == (delivery.subject, delivery.payload)
        assert delivery.headers["traceparent"] == "00-a-b-01"
        await delivery.ack()
        assert await settled(bus, results)
    assert await bus.messages(results.stream) == 0


async def test_a_time_that_has_passed_is_now(bus: Bus, subjects: Subjects) -> None:
    results = Consumer(stream=subjects.stream("RESULTS"), name="aggregator", subject=subjects.everything("result"))
    await bus.ensure((), [results])
    past = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=10)
    await bus.publish(Publication(subjects.result("task-1"), b"late", not_before=past))
    async with bus.pull(results) as pull:
        assert (await one(pull)).payload == b"late"


async def test_a_subscriber_gets_live_messages_of_a_pattern(bus: Bus, subjects: Subjects) -> None:
    async with bus.subscribe(subjects.control("*")) as live:
        await bus.emit(subjects.control("cancel"), b"task-1", {"a": "b"})
        async with asyncio.timeout(LIMIT_S):
            message = await anext(live)
    assert (subjects.control("cancel"), b"task-1") == (message.subject, message.payload)
    assert message.headers["a"] == "b"


async def test_a_replay_gives_the_past_and_then_what_comes_without_gap(bus: Bus, subjects: Subjects) -> None:
    subject, other = subjects.event("acme", "task-1"), subjects.event("acme", "task-2")
    for n in range(3):
        await bus.publish(Publication(subject, b"%d" % n))
        await bus.publish(Publication(other, b"not asked for"))
    async with bus.replay(subjects.stream("EVENTS"), subject) as messages, asyncio.timeout(LIMIT_S):
        seen = [await anext(messages)]
        for n in range(3, 6):
            await bus.emit(subject, b"%d" % n)
        seen += [await anext(messages) for _ in range(5)]
    assert [b"0", b"1", b"2", b"3", b"4", b"5"] == [message.payload for message in seen]
    assert [1, 3, 5, 7, 8, 9] == [message.sequence for message in seen]


async def test_a_replay_starts_after_a_sequence(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.event("acme", "task-1")
    for n in range(3):
        await bus.publish(Publication(subject, b"%d" % n))
    async with bus.replay(subjects.stream("EVENTS"), subject, after=2) as messages, asyncio.timeout(LIMIT_S):
        assert (await anext(messages)).payload == b"2"


async def test_the_last_message_of_a_subject_is_the_newest(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.usage("flights")
    assert await bus.last(subjects.stream("USAGE"), subject) is None
    for payload in (b"1", b"2"):
        await bus.publish(Publication(subject, payload))
    last = await bus.last(subjects.stream("USAGE"), subject)
    assert last is not None
    assert (b"2", 2, subject) == (last.payload, last.sequence, last.subject)


async def test_a_request_gathers_the_replies_of_all_who_listen(bus: Bus, subjects: Subjects) -> None:
    subject = subjects.control("who")

    async def answer(name: bytes, ready: asyncio.Event) -> None:
        async with bus.subscribe(subject) as asked:
            ready.set()
            question = await anext(asked)
            await bus.emit(question.headers[REPLY_TO], name)

    ready = [asyncio.Event(), asyncio.Event()]
    repliers = [asyncio.create_task(answer(b"%d" % n, event)) for n, event in enumerate(ready)]
    await asyncio.gather(*(event.wait() for event in ready))
    replies = await bus.request(subject, b"who is there?", wait_s=0.2)
    await asyncio.gather(*repliers)
    assert [b"0", b"1"] == sorted(reply.payload for reply in replies)


async def test_a_request_that_nobody_hears_gathers_nothing(bus: Bus, subjects: Subjects) -> None:
    assert await bus.request(subjects.control("who"), b"", wait_s=0.05) == []


async def test_lag_counts_what_waits_and_what_is_in_flight(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, b"1", b"2", b"3")
    async with bus.pull(consumer) as pull:
        await one(pull)
        lag = await bus.lag(consumer)
    assert (2, 1) == (lag.waiting, lag.in_flight)


async def test_lag_of_a_consumer_that_does_not_exist_is_unknown(bus: Bus, subjects: Subjects) -> None:
    missing = Consumer(stream=subjects.stream("SUBTASKS"), name="hotels", subject=subjects.subtask("hotels"))
    with pytest.raises(Unknown, match="consumer hotels of"):
        await bus.lag(missing)


async def test_a_removed_message_is_gone(bus: Bus, subjects: Subjects) -> None:
    dead = subjects.stream("DEAD")
    await bus.publish(Publication(subjects.dead("flights"), b"1"))
    await bus.remove(dead, 1)
    assert await bus.messages(dead) == 0
    with pytest.raises(Unknown, match="message 1 of stream"):
        await bus.remove(dead, 1)


async def test_ensuring_twice_changes_nothing(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, b"1", b"2")
    async with bus.pull(consumer) as pull:
        await one(pull)
        before = await bus.lag(consumer)
        await bus.ensure(streams(subjects), [consumer])
        assert await bus.lag(consumer) == before
    assert await bus.messages(consumer.stream) == 2


async def test_ensuring_updates_what_differs(bus: Bus, subjects: Subjects) -> None:
    small = Stream(name=subjects.stream("SMALL"), subjects=(subjects.everything("small"),), max_messages=1)
    await bus.ensure([small])
    wider = Stream(name=small.name, subjects=small.subjects, max_messages=2)
    await bus.ensure([wider])
    for payload in (b"1", b"2"):
        await bus.publish(Publication(f"{subjects.root}.small.a", payload))
    assert await bus.messages(small.name) == 2


async def test_a_payload_over_the_limit_arrives_whole(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    large = bytes(range(256)) * 8192
    assert len(large) > bus.payload_limit_bytes
    await put(bus, subjects, large)
    async with bus.pull(consumer) as pull:
        assert (await one(pull)).payload == large
