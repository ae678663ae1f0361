"""The blocking client against a real broker, each call from a thread without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from harness.instant import InstantEngine
from harness.served import Served, served
from metier.topics import blocking
from metier.topics.errors import BusUnavailable, EmptyText, InvalidInput, Timeout
from metier.topics.messages import Answer, Event, State

T = TypeVar("T")


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, blue=InstantEngine({}, pause_s=5.0)) as team:
        yield team


async def outside(team: Served, script: Callable[[blocking.BlockingClient], T]) -> T:
    """Runs a blocking program beside the team."""

    def run() -> T:
        with blocking.connect(team.server.url) as client:
            return script(client)

    return await asyncio.to_thread(run)


async def test_a_program_without_a_loop_asks(team: Served) -> None:
    answer = await outside(team, lambda client: client.ask("paint it red"))

    assert "red did 'paint it red'" == answer.text


async def test_a_program_without_a_loop_follows_and_continues(team: Served) -> None:
    def script(
        client: blocking.BlockingClient,
    ) -> tuple[list[Event | Answer], list[Event | Answer], list[Event | Answer]]:
        task = client.submit("red green")
        first = client.follow(task)
        begun = [next(first), next(first)]
        first.close()
        return begun, list(client.follow(task.task_id, after=first.after)), list(client.follow(task))

    begun, rest, whole = await outside(team, script)

    assert whole == begun + rest
    assert isinstance(whole[-1], Answer)
    assert {"red", "green"} == set(whole[-1].results)


async def test_a_task_is_cancelled_and_read_again(team: Served) -> None:
    def script(client: blocking.BlockingClient) -> tuple[Answer, Answer]:
        task = client.submit("blue")
        for item in client.follow(task):
            if isinstance(item, Event) and item.what == "started":
                client.cancel(task)
        return client.result(task), client.answer(task.task_id)

    ended, stands = await outside(team, script)

    assert State.CANCELLED is ended.status
    assert ended == stands


async def test_errors_are_those_of_the_client(team: Served) -> None:
    def script(client: blocking.BlockingClient) -> None:
        with pytest.raises(EmptyText):
            client.ask(" ")
        with pytest.raises(InvalidInput, match="does not wait for input"):
            client.follow_up(client.ask("red").task_id, "more")
        with pytest.raises(Timeout):
            client.result("never", wait_s=0.05)

    await outside(team, script)


async def test_leaving_ends_the_thread_and_later_calls_say_so(team: Served) -> None:
    kept: list[blocking.BlockingClient] = []
    await outside(team, kept.append)

    assert [] == [thread for thread in threading.enumerate() if thread.name == "metier-client"]
    with pytest.raises(RuntimeError, match="the client is closed"):
        kept[0].answer("t")


def test_no_broker_is_an_error_and_leaves_no_thread() -> None:
    with pytest.raises(BusUnavailable), blocking.connect("nats://127.0.0.1:1"):
        pass

    assert [] == [thread for thread in threading.enumerate() if thread.name == "metier-client"]
