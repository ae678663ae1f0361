"""What every bus promises, asked of both adapters. Here: answers, ledger, schedules, reading, lag, declarations."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from harness.deliveries import LIMIT_S, flights, one, put, settled
from metier.topics.bus import REPLY_TO, Bus, Publication
from metier.topics.errors import AlreadyAnswered, Busy, Conflict, Unknown
from metier.topics.streams import Consumer, Retention, Stream, streams
from metier.topics.subjects import Subjects


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


async def test_lag_counts_the_deliveries_that_have_ended(bus: Bus, subjects: Subjects) -> None:
    consumer = await flights(bus, subjects)
    await put(bus, subjects, b"1", b"2", b"3")
    async with bus.pull(consumer) as pull:
        await (await one(pull)).ack()
        await one(pull)
        async with asyncio.timeout(LIMIT_S):
            while 1 != (await bus.lag(consumer)).ended:  # noqa: ASYNC110 - a broker tells nobody what has ended
                await asyncio.sleep(0)


async def test_lag_of_a_consumer_that_does_not_exist_is_unknown(bus: Bus, subjects: Subjects) -> None:
    missing = Consumer(stream=subjects.stream("SUBTASKS"), name="hotels", subject=subjects.subtasks("hotels"))
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
