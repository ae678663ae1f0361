"""What every bus promises, asked of both adapters: JetStream and the one in memory. Here: what is pulled."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from harness.deliveries import LIMIT_S, fetch, flight, flights, nothing_comes, one, put, settled
from metier.topics.bus import Bus, Delivery, Publication
from metier.topics.errors import BusUnavailable
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects


@pytest.fixture(params=[False, True], ids=["one", "lanes"])
def laned(request: pytest.FixtureRequest) -> bool:
    """Whether the actor pulls from one consumer, or from lanes."""
    return bool(request.param)


async def test_a_published_message_is_delivered_with_its_headers(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    await bus.publish(Publication(flight(subjects), b"London to Paris", {"traceparent": "00-a-b-01"}))
    async with bus.pull(consumer) as pull:
        delivery = await one(pull)
    assert (b"London to Paris", flight(subjects)) == (delivery.payload, delivery.subject)
    assert delivery.headers["traceparent"] == "00-a-b-01"


async def test_a_first_delivery_knows_its_attempt_place_and_time(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    await put(bus, subjects, b"1", b"2")
    async with bus.pull(consumer) as pull:
        deliveries = [await one(pull), await one(pull)]
    assert [(1, 1), (1, 2)] == [(delivery.attempt, delivery.sequence) for delivery in deliveries]
    assert abs(dt.datetime.now(dt.UTC) - deliveries[0].at) < dt.timedelta(seconds=LIMIT_S)


async def test_a_message_id_is_stored_once(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    publication = Publication(flight(subjects), b"1", message_id="task-1.flights")
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


async def test_an_acknowledged_message_leaves_the_work_queue(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        await (await one(pull)).ack()
        assert await settled(bus, consumer)
    assert await bus.messages(consumer.stream) == 0


async def test_a_nak_delivers_again_after_its_delay(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        clock = asyncio.get_running_loop().time
        before = clock()
        await (await one(pull)).nak(0.2)
        again = await one(pull)
    assert (2, b"1") == (again.attempt, again.payload)
    assert clock() - before >= 0.2


async def test_a_terminated_message_never_comes_again(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned, ack_wait_s=0.2)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        await (await one(pull)).term()
        assert await nothing_comes(pull)
    assert await bus.messages(consumer.stream) == 0


async def test_an_unsettled_message_comes_again_after_its_ack_wait(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned, ack_wait_s=0.3)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        assert [1, 2] == [(await one(pull)).attempt, (await one(pull)).attempt]


async def test_a_message_is_delivered_until_somebody_settles_it(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned, max_attempts=2)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        for attempt in (1, 2, 3):
            delivery = await one(pull)
            assert attempt == delivery.attempt
            await delivery.nak()


async def test_in_progress_keeps_a_message_past_its_ack_wait(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned, ack_wait_s=0.6)
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        delivery = await one(pull)
        for _ in range(2):
            assert await nothing_comes(pull)
            await delivery.in_progress()
        await delivery.ack()
        assert await settled(bus, consumer)


async def test_a_fetch_never_gives_more_than_there_is_room_for(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    await put(bus, subjects, *(b"%d" % n for n in range(5)))
    async with bus.pull(consumer) as pull:
        fetched: list[bytes] = []
        while len(fetched) < 5:
            deliveries = await fetch(pull, 2)
            assert 1 <= len(deliveries) <= 2
            fetched += [delivery.payload for delivery in deliveries]
    assert [b"0", b"1", b"2", b"3", b"4"] == fetched


async def test_a_pull_with_little_room_leaves_the_rest_to_others(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    async with bus.pull(consumer) as narrow, bus.pull(consumer) as wide:
        await put(bus, subjects, *(b"%d" % n for n in range(6)))
        held = await one(narrow)
        others: list[Delivery] = []
        while len(others) < 5:
            others += await fetch(wide, 8)
    assert {b"0", b"1", b"2", b"3", b"4", b"5"} == {held.payload, *(delivery.payload for delivery in others)}


async def test_a_pull_with_less_room_than_before_keeps_none_back(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
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


async def test_a_cancelled_fetch_loses_nothing(bus: Bus, subjects: Subjects, laned: bool) -> None:
    consumer = await flights(bus, subjects, laned)
    async with bus.pull(consumer) as pull:
        waiting = asyncio.create_task(pull.fetch(1))
        await asyncio.sleep(0)
        await put(bus, subjects, b"1")
        waiting.cancel()
        await asyncio.wait([waiting])
        delivery = await one(pull) if waiting.cancelled() else waiting.result()[0]
    assert (1, b"1") == (delivery.attempt, delivery.payload)


async def test_leaving_a_pull_hands_back_at_once_what_was_not_fetched(
    bus: Bus, subjects: Subjects, laned: bool
) -> None:
    consumer = await flights(bus, subjects, laned, ack_wait_s=60)
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
    consumer = Consumer(
        stream=subjects.stream("SUBTASKS"), name="flights", subject=subjects.subtasks("flights"), laned=True
    )
    await put(bus, subjects, b"1")
    async with bus.pull(consumer) as pull:
        waiting = asyncio.create_task(pull.fetch(1))
        await asyncio.sleep(0.05)
        await bus.ensure((), [consumer])
        async with asyncio.timeout(LIMIT_S):
            assert [b"1"] == [delivery.payload for delivery in await waiting]
