"""The Synadia agent protocol, asked by its official client, and by raw NATS where that one says no such thing."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client as Nats
from synadia_ai.agents import Agent, Agents, DiscoverFilter, Envelope, ProtocolError, Query, ResponseChunk
from synadia_ai.agents.heartbeat import HeartbeatPayload

from harness.doors import LIMIT_S, Doors, open_doors
from harness.instant import InstantEngine
from metier.cluster.doors.agents import Agents as Served
from metier.topics.messages import State

PROMPT = "agents.prompt.metier.default.metier"


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, blue=InstantEngine({}, pause_s=30)) as doors:
        serving = Served(doors.house, query_s=0.5)
        running = asyncio.create_task(serving.run())
        async with asyncio.timeout(LIMIT_S):
            await serving.listening.wait()
        yield doors
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def raw(doors: Doors) -> AsyncIterator[Nats]:
    connection = await nats.connect(doors.nats.url)
    yield connection
    await connection.close()


@pytest.fixture
async def agents(raw: Nats) -> AsyncIterator[Agents]:
    found = Agents(nc=raw)
    yield found
    await found.close()


async def agent(agents: Agents, session: str = "metier") -> Agent:
    (one,) = await agents.discover(filter=DiscoverFilter(session_name=session))
    return one


async def prompted(agent: Agent, text: str | Envelope, reply: str = "") -> list[str]:
    """What the agent says; a query is replied to if there is a reply."""
    words: list[str] = []
    async for message in agent.prompt(text, timeout=LIMIT_S):
        if isinstance(message, Query):
            words.append(f"? {message.prompt}")
            if reply:
                await message.reply(reply)
        elif isinstance(message, ResponseChunk):
            words.append(message.text)
    return words


async def frames(raw: Nats, payload: bytes, subject: str = PROMPT) -> list[Any]:
    """All messages of a reply up to the empty one without headers, each its JSON or its headers."""
    inbox = raw.new_inbox()
    replies = await raw.subscribe(inbox)
    await raw.publish(subject, payload, reply=inbox)
    found: list[Any] = []
    while True:
        message = await replies.next_msg(LIMIT_S)
        if not message.data and not message.headers:
            return found
        found.append(json.loads(message.data) if message.data else message.headers)


# ── Discovery and liveness ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_team_and_each_specialist_are_discovered(agents: Agents) -> None:
    found = await agents.discover(filter=DiscoverFilter(agent="metier", owner="default"))

    assert ["metier", *(f"metier-{name}" for name in ("blue", "green", "mixer", "red"))] == sorted(
        one.session_name for one in found
    )
    assert {"0.3"} == {one.protocol_version for one in found}
    assert {False} == {one.prompt_endpoint.attachments_ok for one in found}


async def test_an_instance_answers_a_ping(raw: Nats, agents: Agents) -> None:
    found = await agent(agents)
    reply = await raw.request(f"$SRV.PING.agents.{found.instance_id}", b"", timeout=LIMIT_S)

    assert found.instance_id == json.loads(reply.data)["id"]


async def test_stats_count_prompts_and_errors(raw: Nats, agents: Agents) -> None:
    found = await agent(agents)
    await frames(raw, b"red")
    await frames(raw, b"")
    reply = await raw.request(f"$SRV.STATS.agents.{found.instance_id}", b"", timeout=LIMIT_S)
    (prompt,) = json.loads(reply.data)["endpoints"]

    assert [2, 1] == [prompt["num_requests"], prompt["num_errors"]]


async def test_a_status_is_a_heartbeat(raw: Nats, agents: Agents) -> None:
    found = await agent(agents, "metier-red")
    reply = await raw.request("agents.status.metier.default.metier-red", b"", timeout=LIMIT_S)
    beat = HeartbeatPayload.model_validate_json(reply.data)

    assert [found.instance_id, 30] == [beat.instance_id, beat.interval_s]
    assert beat.endpoints is not None
    assert found.prompt_subject == beat.endpoints["prompt"].subject


async def test_heartbeats_come_by_themselves(doors: Doors, raw: Nats) -> None:
    beats = await raw.subscribe("agents.hb.metier.other.*")
    await raw.flush()
    serving = asyncio.create_task(Served(doors.house, tenant="other").run())
    heard = [json.loads((await beats.next_msg(LIMIT_S)).data)["session"] for _ in range(5)]
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)

    assert "metier" in heard


# ── Prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_prompt_is_answered(agents: Agents) -> None:
    assert ["red did 'red'"] == await prompted(await agent(agents), "red")


async def test_a_specialist_is_prompted_alone(doors: Doors, agents: Agents) -> None:
    assert ["green did 'red'"] == await prompted(await agent(agents, "metier-green"), "red")
    assert 0 == doors.team.tools["red"].ran


async def test_a_reply_is_an_ack_what_is_done_and_the_answer(raw: Nats) -> None:
    first, *between, last = await frames(raw, b'{"prompt":"red","another":1}')

    assert {"type": "status", "data": "ack"} == first
    assert {"type": "status", "data": "plan: red"} in between
    assert {"type": "response", "data": "red did 'red'"} == last


async def test_what_is_missing_is_queried(doors: Doors, agents: Agents) -> None:
    doors.team.tools["red"].asks = "shade"

    assert ["? red needs to know: shade.", "red did 'red\\nthis shade'"] == await prompted(
        await agent(agents), "red", "this shade"
    )


async def test_a_query_nobody_replies_to_can_be_gone_on_with_later(doors: Doors, agents: Agents) -> None:
    doors.team.tools["red"].asks = "shade"
    team = await agent(agents)
    _, left = await prompted(team, "red")
    task_id = left.rpartition(" ")[2].rstrip(".")
    again = await prompted(team, Envelope(prompt="this shade", metier={"task_id": task_id}))  # type: ignore[call-arg]

    assert ["red did 'red\\nthis shade'"] == again
    assert State.OK is (await doors.team.client.answer(task_id)).status


async def test_what_an_envelope_says_to_metier_is_heeded(agents: Agents) -> None:
    envelope = Envelope(prompt="red blue", metier={"deadline_s": 5.0})  # type: ignore[call-arg]
    (answer,) = await prompted(await agent(agents), envelope)

    assert "blue: no result by the deadline." in answer


async def test_the_official_client_raises_what_went_wrong(agents: Agents) -> None:
    with pytest.raises(ProtocolError, match="Object contains unknown field"):
        await prompted(await agent(agents), Envelope(prompt="red", metier={"colour": "dark"}))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"", "400", "the text is empty"),
        (b'{"prompt":', "400", "neither an envelope nor text"),
        (b'{"text":"red"}', "400", "Object missing required field `prompt`"),
        (b"\xff", "400", "neither an envelope nor text"),
        (b'{"prompt":"red","attachments":[{"filename":"a","content":""}]}', "400", "takes no attachments"),
        (b'{"prompt":"red","metier":{"task_id":"never"}}', "404", "No trace of task never"),
    ],
)
async def test_a_prompt_that_cannot_be_taken_is_refused_with_the_reason(
    raw: Nats, payload: bytes, code: str, reason: str
) -> None:
    (refused,) = await frames(raw, payload)

    assert code == refused["Nats-Service-Error-Code"]
    assert reason in refused["Nats-Service-Error"]


async def test_a_prompt_without_a_reply_subject_does_no_harm(raw: Nats, agents: Agents) -> None:
    await raw.publish(PROMPT, b"red")

    assert ["red did 'red'"] == await prompted(await agent(agents), "red")


async def test_two_processes_share_the_prompts(doors: Doors, raw: Nats) -> None:
    second = Served(doors.house)
    running = asyncio.create_task(second.run())
    await second.listening.wait()
    replies = [await frames(raw, b"red") for _ in range(8)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert {1} == {sum(frame.get("type") == "response" for frame in reply) for reply in replies}


async def test_who_stops_tells_those_who_wait(doors: Doors, raw: Nats) -> None:
    leaving = Served(doors.house, tenant="leaving")
    running = asyncio.create_task(leaving.run())
    await leaving.listening.wait()
    inbox = raw.new_inbox()
    replies = await raw.subscribe(inbox)
    await raw.publish("agents.prompt.metier.leaving.metier", b"blue", reply=inbox)
    await replies.next_msg(LIMIT_S)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    while not (message := await replies.next_msg(LIMIT_S)).headers:
        pass

    assert "503" == message.headers["Nats-Service-Error-Code"]


async def test_the_command_serves_until_it_is_told_to_stop(doors: Doors, agents: Agents) -> None:
    arguments = ["-m", "metier.cluster.cli", "agents", "--nats", doors.nats.url, "--tenant", "acme"]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    async with asyncio.timeout(2 * LIMIT_S):
        assert b"Ready: agents.prompt.metier.acme.>" in await process.stderr.readline()
        found = await agents.discover(filter=DiscoverFilter(owner="acme", session_name="metier-red"))
        words = await prompted(found[0], "red")
        process.terminate()
        status = await process.wait()

    assert ["red did 'red'"] == words
    assert 130 == status
