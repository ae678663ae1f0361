"""What a client promises beyond one task: going on where it, or another, left off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from harness.house import SUBJECTS
from metier.topics.client import Client
from metier.topics.errors import InvalidToken, Timeout
from metier.topics.memory import MemoryBus
from metier.topics.messages import Answer, Cost, Event, PlanGraph, State
from metier.topics.outbox import Outbox
from metier.topics.streams import streams


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    bus = MemoryBus(SUBJECTS)
    await bus.ensure(streams(SUBJECTS))
    yield bus
    await bus.close()


@pytest.fixture
async def client(bus: MemoryBus) -> AsyncIterator[Client]:
    client = Client(bus, SUBJECTS)
    yield client
    await client.close()


def event(text: str, turn: int = 1) -> Event:
    return Event(task_id="t", tenant="default", turn=turn, what="tokens", text=text)


def answer(turn: int = 1) -> Answer:
    cost = Cost(usd=0, large_model_usd=0, prompt_tokens=0, output_tokens=0, model_seconds=0)
    return Answer(
        task_id="t", tenant="default", turn=turn, status=State.OK, text="done", plan=PlanGraph(nodes=()),
        results={}, missing=(), cost=cost, trace_id="",
    )  # fmt: skip


async def say(bus: MemoryBus, *messages: Event | Answer) -> None:
    await Outbox(bus, SUBJECTS).send(messages)


async def test_a_task_that_ended_is_followed_from_its_first_event_to_its_answer(bus: MemoryBus, client: Client) -> None:
    await say(bus, event("a"), event("b"), event("c"))
    await say(bus, answer())

    assert ["a", "b", "c", "done"] == [item.text async for item in client.follow("t")]


async def test_another_client_continues_after_the_last_event_that_was_seen(bus: MemoryBus, client: Client) -> None:
    await say(bus, event("a"), event("b"))
    first = client.follow("t")
    async with aclosing(first):
        assert ["a", "b"] == [(await anext(first)).text for _ in range(2)]
    await say(bus, event("c"), answer())
    other = Client(bus, SUBJECTS)
    second = other.follow("t", after=first.after)

    assert ["c", "done"] == [item.text async for item in second]
    assert 3 == second.after
    await other.close()


async def test_events_of_other_turns_are_passed_over_and_counted(bus: MemoryBus, client: Client) -> None:
    await say(bus, event("old", turn=1), event("new", turn=2), event("newer", turn=3))
    await say(bus, answer(turn=2))
    following = client.follow("t", turn=2)

    assert ["new", "done"] == [item.text async for item in following]
    assert 3 == following.after


async def test_an_event_nobody_understands_is_passed_over(bus: MemoryBus, client: Client) -> None:
    await say(bus, event("a"))
    await bus.emit(SUBJECTS.event("default", "t"), b'{"type":"event/9"}')
    await say(bus, event("b"), answer())

    assert ["a", "b", "done"] == [item.text async for item in client.follow("t")]


async def test_following_what_was_never_asked_ends_at_the_limit(client: Client) -> None:
    with pytest.raises(Timeout, match=r"Nothing came within 0\.05 s: no answer to task t"):
        await anext(client.follow("t", wait_s=0.05))


async def test_an_id_that_is_no_token_is_refused(client: Client) -> None:
    with pytest.raises(InvalidToken):
        await anext(client.follow("t.>"))


async def test_the_answer_to_a_turn_is_found_by_the_tasks_id(bus: MemoryBus, client: Client) -> None:
    await say(bus, answer())

    assert answer() == await client.result("t")


async def test_leaving_a_follow_early_leaves_nothing_running(bus: MemoryBus, client: Client) -> None:
    await say(bus, event("a"))
    before = asyncio.all_tasks()
    async with aclosing(client.follow("t")) as following:
        await anext(following)
    await client.close()

    assert before == asyncio.all_tasks()
