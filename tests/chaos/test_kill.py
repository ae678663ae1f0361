"""An accepted task gets exactly one answer, whichever process dies."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from harness.local_team import LocalTeam, answers, local_team
from metier.topics.client import Client, connect
from metier.topics.codec import decode, encode
from metier.topics.messages import Answer, Control, Presence, State, Task
from metier.topics.subjects import Subjects

BACK_S = 45.0

#: Who is killed, what is asked, and the event after which the victim holds the task.
CASES = {
    "router": ("think 1 one two three joiner", None),
    "one": ("slow 1 one two three joiner", ("started", "one")),
    "aggregator": ("slow 1 one two three joiner", ("started", "two")),
    "joiner": ("slow 1 one two three joiner", ("started", "joiner")),
}


@pytest.mark.parametrize("actor", CASES)
async def test_a_task_outlives_the_process_of_any_actor(client: Client, actor: str) -> None:
    text, moment = CASES[actor]
    before = await answers(client, 0)
    pid = await back(client, actor)

    task = await client.submit(text, deadline_s=90)
    if moment:
        await seen(client, task, *moment)
    else:
        await taken(client, actor)
    os.kill(pid, signal.SIGKILL)
    answer = await client.result(task)

    assert State.OK is answer.status, answer.text
    assert f"one={text} three={text} two={text}" == answer.text
    assert before + 1 == await answers(client, before + 1)
    await back(client, actor, after=pid)


async def test_a_task_outlives_the_process_of_its_model(client: Client, echo_team: LocalTeam) -> None:
    await back(client, "one")
    model = echo_team.replica("model-echo")
    assert model is not None

    task = await client.submit("slow 1 one", deadline_s=90)
    await seen(client, task, "started", "one")
    model.kill()
    answer = await client.result(task)

    assert State.OK is answer.status, answer.text
    assert "slow 1 one" == answer.text


async def test_a_team_outlives_its_fork_server_and_stops_without_its_raylet(tmp_path: Path) -> None:
    with local_team(tmp_path / "state") as team:
        up = team.ready()
        async with connect(up.nats_url, subjects=Subjects(up.root)) as client:
            pids = {presence.pid for presence in await presences(client)}

            team.part("metier.cluster.forkserver").kill()
            answer = await client.ask("one two three joiner", deadline_s=90)

            assert State.OK is answer.status, answer.text
            assert not pids & {presence.pid for presence in await presences(client)}
        team.part("raylet/raylet").kill()

        assert set() == team.stop()


async def seen(client: Client, task: Task, what: str, node: str) -> None:
    """Waits for an event of a task."""
    async for item in client.follow(task):
        if isinstance(item, Answer):
            raise AssertionError(f"it was answered before {node} was {what}: {item.text}")
        if (item.what, item.node) == (what, node):
            return


async def taken(client: Client, actor: str) -> None:
    """Waits until an actor holds a delivery."""
    async with asyncio.timeout(BACK_S):
        while not any(p.in_flight for p in await presences(client) if p.actor == actor):
            pass


async def back(client: Client, actor: str, after: int = 0) -> int:
    """Waits until an actor is there, in another process than the one given; its process id."""
    async with asyncio.timeout(BACK_S):
        while True:
            for presence in await presences(client):
                if presence.actor == actor and presence.pid != after:
                    return presence.pid


async def presences(client: Client) -> list[Presence]:
    replies = await client.bus.request(client.subjects.control("status"), encode(Control(verb="status")), 0.1)
    return [decode(reply.payload, Presence) for reply in replies]
