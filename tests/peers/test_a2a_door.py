"""A2A 1.0, asked by the official client, over JSON-RPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.helpers import get_message_text, new_text_message
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors

from harness.doors import LIMIT_S, Doors, open_doors
from harness.instant import InstantEngine


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    slow = {"blue": InstantEngine({}, pause_s=30), "green": InstantEngine({}, pause_s=0.3)}
    async with open_doors(tmp_path, large=InstantEngine("Because it is."), **slow) as doors:
        yield doors


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=LIMIT_S) as http:
        yield http


@pytest.fixture
async def card(doors: Doors, http: httpx.AsyncClient) -> pb.AgentCard:
    return await A2ACardResolver(http, doors.address).get_agent_card()


@pytest.fixture
def a2a(card: pb.AgentCard, http: httpx.AsyncClient) -> Client:
    return ClientFactory(ClientConfig(httpx_client=http)).create(card)


@pytest.fixture
def waiting(card: pb.AgentCard, http: httpx.AsyncClient) -> Client:
    """A client that wants no stream."""
    return ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)


def said(text: str, *, task_id: str = "", context_id: str = "", **extra: Any) -> pb.SendMessageRequest:
    message = new_text_message(text, role=pb.ROLE_USER, task_id=task_id, context_id=context_id)
    if extra:
        message.metadata.update({"metier": extra})
    return pb.SendMessageRequest(message=message)


async def send(client: Client, request: pb.SendMessageRequest) -> pb.Task:
    (reply,) = [reply async for reply in client.send_message(request)]
    return reply.task


def artifacts(task: pb.Task) -> dict[str, str]:
    return {one.artifact_id: one.parts[0].text for one in task.artifacts}


def states(replies: list[pb.StreamResponse]) -> list[int]:
    updates = [one.status_update.status.state for one in replies if one.HasField("status_update")]
    return [replies[0].task.status.state, *dict.fromkeys(updates)]


# ── The card ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_card_has_a_skill_for_each_specialist(doors: Doors, card: pb.AgentCard) -> None:
    assert ["blue", "green", "mixer", "red"] == sorted(skill.id for skill in card.skills)
    assert f"{doors.address}/a2a" == card.supported_interfaces[0].url
    assert "1.0" == card.supported_interfaces[0].protocol_version
    assert card.capabilities.streaming


# ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_message_comes_back_as_a_task_with_its_artifacts(waiting: Client) -> None:
    task = await send(waiting, said("red"))

    assert pb.TASK_STATE_COMPLETED == task.status.state
    assert {"red": "red did 'red'", "answer": "red did 'red'"} == artifacts(task)
    assert "ok" == task.artifacts[-1].parts[1].data.struct_value["status"]


async def test_metadata_names_the_specialists_and_the_context(waiting: Client) -> None:
    task = await send(waiting, said("red", specialists=["green"], context={"date": "2026-11-27"}))

    assert ["green", "answer"] == list(artifacts(task))


async def test_a_stream_is_the_task_then_its_updates_then_its_end(a2a: Client) -> None:
    replies = [reply async for reply in a2a.send_message(said("red"))]
    told = [get_message_text(one.status_update.status.message) for one in replies if one.HasField("status_update")]

    assert [pb.TASK_STATE_SUBMITTED, pb.TASK_STATE_WORKING, pb.TASK_STATE_COMPLETED] == states(replies)
    assert "plan: red" in told
    assert "red did 'red'" == told[-1]
    assert "answer" in [one.artifact_update.artifact.artifact_id for one in replies]


async def test_tokens_come_as_parts_of_an_artifact_that_the_whole_replaces(a2a: Client) -> None:
    replies = [reply async for reply in a2a.send_message(said("why is the sky blue?"))]
    parts = [one.artifact_update for one in replies if one.artifact_update.artifact.artifact_id == "large"]

    assert [False, True] == [parts[0].last_chunk, parts[-1].last_chunk]
    assert "Because it is." == parts[-1].artifact.parts[0].text


async def test_what_is_missing_is_asked_and_the_same_task_goes_on(doors: Doors, a2a: Client, waiting: Client) -> None:
    doors.team.tools["red"].asks = "shade"
    task = await send(waiting, said("red", context_id="talk-1"))
    again = [reply async for reply in a2a.send_message(said("this shade", task_id=task.id, context_id="talk-1"))]

    assert pb.TASK_STATE_INPUT_REQUIRED == task.status.state
    assert "red needs to know: shade." == get_message_text(task.status.message)
    assert task.id == again[-1].status_update.task_id
    assert pb.TASK_STATE_COMPLETED == again[-1].status_update.status.state
    assert "red did 'red\\nthis shade'" == get_message_text(again[-1].status_update.status.message)


async def test_a_failed_task_says_what_was_found(waiting: Client) -> None:
    task = await send(waiting, said("red blue", deadline_s=0.4))

    assert pb.TASK_STATE_FAILED == task.status.state
    assert "blue: no result by the deadline." in get_message_text(task.status.message)


async def test_contexts_are_kept(waiting: Client) -> None:
    given = await send(waiting, said("red", context_id=f"talk {uuid4()}"))
    own = await send(waiting, said("red"))

    assert given.context_id == (await waiting.get_task(pb.GetTaskRequest(id=given.id))).context_id
    assert own.id == own.context_id


# ── Looking and cancelling ───────────────────────────────────────────────────────────────────────────────────────────


async def at_once(client: Client, text: str) -> pb.Task:
    request = said(text)
    request.configuration.return_immediately = True
    return await send(client, request)


async def test_a_task_that_was_not_waited_for_can_be_looked_at_at_once(waiting: Client) -> None:
    task = await at_once(waiting, "blue")
    found = await waiting.get_task(pb.GetTaskRequest(id=task.id))

    assert task.id == found.id
    assert found.status.state in (pb.TASK_STATE_SUBMITTED, pb.TASK_STATE_WORKING)


async def test_who_comes_later_hears_it_all(waiting: Client, a2a: Client) -> None:
    task = await at_once(waiting, "green")
    replies = [reply async for reply in a2a.subscribe(pb.SubscribeToTaskRequest(id=task.id))]

    assert task.id == replies[0].task.id
    assert pb.TASK_STATE_COMPLETED == replies[-1].status_update.status.state


async def test_a_cancelled_task_is_canceled(waiting: Client, a2a: Client) -> None:
    task = await at_once(waiting, "blue")
    updates = a2a.subscribe(pb.SubscribeToTaskRequest(id=task.id))
    async with asyncio.timeout(LIMIT_S):
        while get_message_text((await anext(updates)).status_update.status.message) != "blue: started":
            pass
    cancelled = await waiting.cancel_task(pb.CancelTaskRequest(id=task.id))

    assert pb.TASK_STATE_CANCELED == cancelled.status.state
    assert pb.TASK_STATE_CANCELED == [update async for update in updates][-1].status_update.status.state
    with pytest.raises(errors.TaskNotCancelableError):
        await waiting.cancel_task(pb.CancelTaskRequest(id=task.id))


# ── Bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("task_id", ["never", "a.b", "*"])
async def test_a_task_nobody_knows_is_not_found(waiting: Client, task_id: str) -> None:
    with pytest.raises(errors.TaskNotFoundError):
        await waiting.get_task(pb.GetTaskRequest(id=task_id))
    with pytest.raises(errors.TaskNotFoundError):
        await send(waiting, said("more", task_id=task_id))


async def test_a_task_that_waits_for_nothing_takes_no_message_and_has_no_more_to_tell(
    waiting: Client, a2a: Client
) -> None:
    task = await send(waiting, said("red"))

    with pytest.raises(errors.UnsupportedOperationError, match="does not wait for input"):
        await send(waiting, said("more", task_id=task.id))
    with pytest.raises(errors.UnsupportedOperationError, match="has ended"):
        _ = [one async for one in a2a.subscribe(pb.SubscribeToTaskRequest(id=task.id))]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (said("  "), "the text is empty"),
        (said("x" * 8001), "the text has 8001 characters"),
        (said("red", colour="dark"), "Object contains unknown field `colour`"),
        (said("red", specialists=["pink"]), "'pink' is not a specialist"),
        (said("red", context={"date": "2026-02-30"}), "Invalid RFC3339 encoded date"),
        (said("red", context_id="x" * 257), "at most 256 characters"),
    ],
)
async def test_a_message_that_cannot_be_understood_is_refused(
    waiting: Client, request_: pb.SendMessageRequest, reason: str
) -> None:
    with pytest.raises(errors.InvalidParamsError, match=reason):
        await send(waiting, request_)


async def test_anything_but_text_is_refused(waiting: Client) -> None:
    request = said("red")
    request.message.parts.add().url = "https://example.com/red.png"

    with pytest.raises(errors.ContentTypeNotSupportedError):
        await send(waiting, request)


async def test_what_the_card_does_not_offer_is_refused(waiting: Client) -> None:
    with pytest.raises(errors.UnsupportedOperationError):
        await waiting.list_tasks(pb.ListTasksRequest())
    request = said("red")
    request.configuration.task_push_notification_config.url = "https://example.com/push"
    with pytest.raises(errors.PushNotificationNotSupportedError):
        await send(waiting, request)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"Fly"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"SendMessage","params":{"message":7}}', -32602),
    ],
)
async def test_bytes_that_are_no_call_are_an_error_of_json_rpc(
    doors: Doors, http: httpx.AsyncClient, body: bytes, code: int
) -> None:
    headers = {"Content-Type": "application/json", "A2A-Version": "1.0"}
    reply = await http.post(f"{doors.address}/a2a", content=body, headers=headers)

    assert code == reply.json()["error"]["code"]


async def test_a_body_that_is_too_large_is_refused(doors: Doors, http: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await http.post(f"{doors.address}/a2a", content=b" " * (1024 * 1024 + 1), headers=headers)

    assert 413 == reply.status_code
