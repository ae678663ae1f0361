"""One call, for those who want one: a plain NATS request that is replied to with the answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client as Nats

from harness.house import SUBJECTS
from harness.instant import InstantEngine
from harness.served import Served, served
from metier.topics.asking import Asking
from metier.topics.jetstream import connect

ASK = "metier.ask.default.interactive"
LIMIT_S = 10.0


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, blue=InstantEngine({}, pause_s=0.5)) as team:
        yield team


@pytest.fixture
async def raw(team: Served) -> AsyncIterator[Nats]:
    connection = await nats.connect(team.server.url)
    yield connection
    await connection.close()


async def test_a_request_is_replied_to_with_the_answer(raw: Nats) -> None:
    reply = await raw.request(ASK, b'{"text":"paint it red"}', timeout=LIMIT_S)
    answer = json.loads(reply.data)

    assert "answer/1" == answer["type"]
    assert "ok" == answer["status"]
    assert "red did 'paint it red'" == answer["text"]


async def test_the_same_id_asked_again_is_the_same_answer(team: Served, raw: Nats) -> None:
    task = b'{"task_id":"once","text":"red"}'
    replies = [await raw.request(ASK, task, timeout=LIMIT_S) for _ in range(2)]

    assert replies[0].data == replies[1].data
    assert 1 == team.house.tools["red"].ran


async def test_the_answer_stands_for_an_asker_that_left(team: Served, raw: Nats) -> None:
    with pytest.raises(TimeoutError):
        await raw.request(ASK, b'{"task_id":"left","text":"blue"}', timeout=0.05)

    assert "blue did 'blue'" == (await team.house.client.result("left")).text


@pytest.mark.parametrize(
    ("subject", "payload", "code", "reason"),
    [
        (ASK, b"{", "400", "Not a valid task: Input data was truncated."),
        (ASK, b'{"text":" "}', "400", "The text is empty: a task needs at least one word."),
        (ASK, b'{"type":"task/2"}', "400", "This task has version 2; this Metier reads version 1."),
        (
            "metier.ask.acme.batch",
            b'{"text":"red"}',
            "400",
            "The input cannot be accepted: a task of that tenant and class is asked on metier.ask.default.interactive,"
            " not on metier.ask.acme.batch.",
        ),
        ("metier.ask.acme", b'{"text":"red","tenant":"acme"}', "400", "The input cannot be accepted: a task of that"),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_the_reason(
    raw: Nats, subject: str, payload: bytes, code: str, reason: str
) -> None:
    reply = await raw.request(subject, payload, timeout=LIMIT_S)

    assert reply.headers is not None
    assert code == reply.headers["Nats-Service-Error-Code"]
    assert reply.headers["Nats-Service-Error"].startswith(reason)
    assert b"" == reply.data


async def test_an_answer_that_does_not_come_is_refused_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.topics.client.GRACE_S", 0.2)
    async with served(tmp_path, asleep=("router",)) as team:
        raw = await nats.connect(team.server.url)
        reply = await raw.request(ASK, b'{"text":"red","deadline_s":0.1}', timeout=LIMIT_S)
        await raw.close()

    assert reply.headers is not None
    assert "504" == reply.headers["Nats-Service-Error-Code"]
    assert reply.headers["Nats-Service-Error"].startswith("Nothing came within 0.3")


async def test_who_stops_tells_its_askers_to_ask_again(team: Served, raw: Nats) -> None:
    async with connect(team.server.url, name="short", subjects=SUBJECTS) as bus:
        asking = Asking(bus, SUBJECTS)
        running = asyncio.create_task(asking.run())
        await asking.working.wait()
        replies = [
            asyncio.create_task(raw.request(ASK, b'{"task_id":"a%d","text":"blue"}' % n, timeout=LIMIT_S))
            for n in range(16)
        ]
        async with asyncio.timeout(LIMIT_S):
            while await bus.messages("EVENTS") < len(replies):  # each is planned
                pass
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        headers = [(await reply).headers or {} for reply in replies]
    told = {number for number, header in enumerate(headers) if header.get("Nats-Service-Error-Code") == "503"}

    assert told
    assert "ask again with the same task_id" in headers[min(told)]["Nats-Service-Error"]
    again = await raw.request(ASK, b'{"task_id":"a%d","text":"blue"}' % min(told), timeout=LIMIT_S)
    assert "blue did 'blue'" == json.loads(again.data)["text"]


async def test_a_busy_team_tells_an_asker_when_to_come_back(team: Served, raw: Nats) -> None:
    for at in range(200):
        await raw.publish(
            "metier.task.default.interactive",
            json.dumps({"task_id": f"flood-{at}", "text": "blue", "deadline_s": 600}).encode(),
        )
    hurried = b'{"text":"blue","deadline_s":0.5,"specialists":["blue"]}'
    async with asyncio.timeout(3 * LIMIT_S):
        while (reply := await raw.request(ASK, hurried, timeout=LIMIT_S)).data:
            pass
    headers = reply.headers or {}
    waiting = (await team.house.bus.lag(team.house.consumers["blue"])).waiting

    assert "429" == headers["Nats-Service-Error-Code"]
    # Eight at once, half a second each: at most 16 a second, and fewer on a busy machine.
    assert 0.8 * (waiting / 16 - 0.5) <= int(headers["Retry-After"]) <= 4 * waiting / 16
    assert f"retry after {headers['Retry-After']} s" in headers["Nats-Service-Error"]
