"""MCP, asked by the official client: over streamable HTTP in both eras of the protocol, and over stdio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.stdio import StdioServerParameters
from mcp.shared.exceptions import MCPError

from harness.doors import LIMIT_S, Doors, open_doors
from harness.instant import InstantEngine
from metier.cluster.doors import mcp_tasks
from metier.topics.messages import State

ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with open_doors(tmp_path, blue=InstantEngine({}, pause_s=30)) as doors:
        yield doors


def client(doors: Doors, **options: Any) -> Client:
    return Client(f"{doors.address}/mcp", read_timeout_seconds=LIMIT_S, **options)


def text(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


async def until(doors: Doors, status: State, task_id: str) -> None:
    async with asyncio.timeout(LIMIT_S):
        assert status is (await doors.team.client.result(task_id)).status


async def asked_last(doors: Doors) -> str:
    """The id of the last task that was asked."""
    entry = await doors.team.bus.last("LEDGER", "metier.ledger.default.>")
    assert entry is not None
    return entry.subject.split(".")[3]


# ── Tools ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@ERAS
async def test_the_team_and_each_specialist_are_tools(doors: Doors, mode: str) -> None:
    async with client(doors, mode=mode) as mcp:
        tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}

    assert {"ask", "ask_red", "ask_green", "ask_blue", "ask_mixer"} == set(tools)
    assert ["text"] == tools["ask"].input_schema["required"]
    assert "date" in tools["ask"].input_schema["properties"]["context"]["properties"]


@ERAS
async def test_the_team_chooses_who_works(doors: Doors, mode: str) -> None:
    async with client(doors, mode=mode) as mcp:
        result = await mcp.call_tool("ask", {"text": "red green", "context": {"home": "London"}})

    assert not result.is_error
    assert "red did 'red green'\n\ngreen did 'red green'" == text(result)
    assert result.structured_content is not None
    assert "ok" == result.structured_content["status"]


@ERAS
async def test_a_specialist_is_asked_alone(doors: Doors, mode: str) -> None:
    async with client(doors, mode=mode) as mcp:
        result = await mcp.call_tool("ask_green", {"text": "red and green"})

    assert "green did 'red and green'" == text(result)
    assert 0 == doors.team.tools["red"].ran


@ERAS
async def test_the_work_is_told_as_progress(doors: Doors, mode: str) -> None:
    told: list[str] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        told.append(message or "")

    async with client(doors, mode=mode) as mcp:
        await mcp.call_tool("ask", {"text": "red"}, progress_callback=heard)

    assert "plan: red" in told
    assert "red: ok" in told


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("ask", {}, "Object missing required field `text`"),
        ("ask", {"text": "   "}, "the text is empty"),
        ("ask", {"text": "x" * 8001}, "Expected `str` of length <= 8000"),
        (
            "ask",
            {"text": "red", "context": {"date": "2026-02-30"}},
            "Invalid RFC3339 encoded date - at `$.context.date`",
        ),
        ("ask", {"text": "red", "colour": "dark"}, "Object contains unknown field `colour`"),
        ("ask_pink", {"text": "red"}, "'pink' is not a specialist: this team has"),
        ("ask", {"text": "red", "task_id": "never"}, "No trace of task never"),
        ("ask", {"text": "red", "task_id": "a.b"}, "No trace of task a.b"),
    ],
)
async def test_a_call_that_cannot_be_done_says_why(
    doors: Doors, tool: str, arguments: dict[str, Any], reason: str
) -> None:
    async with client(doors) as mcp:
        result = await mcp.call_tool(tool, arguments)

    assert result.is_error
    assert reason in text(result)


@ERAS
@pytest.mark.parametrize("tool", ["think", "ask_"])
async def test_a_tool_that_is_not_there_is_an_error(doors: Doors, mode: str, tool: str) -> None:
    async with client(doors, mode=mode) as mcp:
        with pytest.raises(MCPError, match="There is no tool"):
            await mcp.call_tool(tool, {"text": "red"})


async def test_an_answer_that_is_late_is_an_error_with_what_was_found(doors: Doors) -> None:
    async with client(doors) as mcp:
        result = await mcp.call_tool("ask", {"text": "red blue", "deadline_s": 0.4})

    assert result.is_error
    assert "blue: no result by the deadline." in text(result)


# ── Input required ───────────────────────────────────────────────────────────────────────────────────────────────────


def answering(*replies: types.ElicitResult) -> tuple[Any, list[str]]:
    """What a client does when it is asked, and what it was asked."""
    asked: list[str] = []
    left = iter(replies)

    async def elicit(context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        return next(left)

    return elicit, asked


def filled(words: str) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"text": words})


async def test_what_is_missing_is_elicited(doors: Doors) -> None:
    doors.team.tools["red"].asks = "shade"
    elicit, asked = answering(filled("a nice one"), filled("this shade"))
    async with client(doors, elicitation_callback=elicit) as mcp:
        result = await mcp.call_tool("ask", {"text": "red"})

    assert ["red needs to know: shade."] * 2 == asked
    assert "red did 'red\\na nice one\\nthis shade'" == text(result)


async def test_a_reply_that_is_declined_leaves_the_task_waiting(doors: Doors) -> None:
    doors.team.tools["red"].asks = "shade"
    elicit, _ = answering(types.ElicitResult(action="decline"))
    async with client(doors, elicitation_callback=elicit) as mcp:
        result = await mcp.call_tool("ask", {"text": "red"})

    assert result.structured_content is not None
    assert "input_required" == result.structured_content["status"]


@ERAS
async def test_a_client_that_cannot_be_asked_is_told_how_to_go_on(doors: Doors, mode: str) -> None:
    doors.team.tools["red"].asks = "shade"
    async with client(doors, mode=mode) as mcp:
        result = await mcp.call_tool("ask", {"text": "red"})
        assert result.structured_content is not None
        task_id = result.structured_content["task_id"]

        assert not result.is_error
        assert f"red needs to know: shade.\nCall again with task_id {task_id}, and with what is missing as text." == (
            text(result)
        )
        again = await mcp.call_tool("ask", {"text": "this shade", "task_id": task_id})

    assert "red did 'red\\nthis shade'" == text(again)


# ── Cancelling ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def leave(mcp: Client) -> None:
    """Calls, and cancels the call once its task is at work."""
    began = asyncio.Event()

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        began.set()

    calling = asyncio.create_task(mcp.call_tool("ask", {"text": "blue"}, progress_callback=heard))
    async with asyncio.timeout(LIMIT_S):
        await began.wait()
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)


async def test_a_call_that_is_cancelled_cancels_its_task(doors: Doors) -> None:
    async with client(doors) as mcp:
        await leave(mcp)
        await until(doors, State.CANCELLED, await asked_last(doors))


# ── Tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Claimed(mcp_tasks.CreateTaskResult):
    """A task as a client reads it."""


class Tasks(ClientExtension):
    """The client's side of the extension, which the library leaves to others: shows the task, does not wait for it."""

    identifier = mcp_tasks.EXTENSION

    def __init__(self) -> None:
        self.task_id = ""

    def claims(self) -> list[ResultClaim[Any]]:
        async def resolve(result: Claimed, context: ClaimContext) -> types.CallToolResult:
            self.task_id = result.task_id
            return types.CallToolResult(content=[])

        return [ResultClaim(result_type="task", model=Claimed, resolve=resolve)]


class GetTask(types.Request[mcp_tasks.TaskParams, Literal["tasks/get"]]):
    method: Literal["tasks/get"] = "tasks/get"


class CancelTask(types.Request[mcp_tasks.TaskParams, Literal["tasks/cancel"]]):
    method: Literal["tasks/cancel"] = "tasks/cancel"


class UpdateTask(types.Request[mcp_tasks.UpdateParams, Literal["tasks/update"]]):
    method: Literal["tasks/update"] = "tasks/update"


async def looked(mcp: Client, task_id: str, status: str) -> mcp_tasks.Task:
    """The task once it has a status."""
    params = mcp_tasks.TaskParams(task_id=task_id)
    async with asyncio.timeout(LIMIT_S):
        while True:
            task = await mcp.session.send_request(GetTask(params=params), mcp_tasks.Task)
            if task.status == status:
                return task
            await asyncio.sleep(0.02)


async def test_long_work_is_a_task_that_another_client_can_look_at_and_cancel(doors: Doors) -> None:
    tasks = Tasks()
    async with client(doors, extensions=[tasks]) as mcp:
        await mcp.call_tool("ask", {"text": "blue"})
        working = await looked(mcp, tasks.task_id, "working")
    async with client(doors, extensions=[Tasks()]) as other:
        params = mcp_tasks.TaskParams(task_id=tasks.task_id)
        await other.session.send_request(CancelTask(params=params), types.EmptyResult)
        cancelled = await looked(other, tasks.task_id, "cancelled")

    assert 500 == working.poll_interval_ms
    assert "Cancelled." in (cancelled.status_message or "")


async def test_a_short_call_has_its_result_at_once_with_tasks_too(doors: Doors) -> None:
    tasks = Tasks()
    async with client(doors, extensions=[tasks]) as mcp:
        result = await mcp.call_tool("ask", {"text": "red"})

    assert "" == tasks.task_id
    assert "red did 'red'" == text(result)


async def test_a_task_asks_for_input_and_ends_with_the_result(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metier.cluster.doors.mcp.PATIENCE_S", 0.0)
    doors.team.tools["red"].asks = "shade"
    tasks = Tasks()
    elicit, _ = answering()
    async with client(doors, extensions=[tasks], elicitation_callback=elicit) as mcp:
        await mcp.call_tool("ask", {"text": "red"})
        asking = await looked(mcp, tasks.task_id, "input_required")
        assert asking.input_requests is not None
        (key,) = asking.input_requests
        params = mcp_tasks.UpdateParams(task_id=tasks.task_id, input_responses={key: filled("this shade")})
        await mcp.session.send_request(UpdateTask(params=params), types.EmptyResult)
        await mcp.session.send_request(UpdateTask(params=params), types.EmptyResult)
        done = await looked(mcp, tasks.task_id, "completed")

    assert done.result is not None
    assert "red did 'red\\nthis shade'" == text(done.result)


async def test_a_task_nobody_knows_is_an_error(doors: Doors) -> None:
    async with client(doors, extensions=[Tasks()]) as mcp:
        with pytest.raises(MCPError, match="No trace of task never"):
            await looked(mcp, "never", "working")


async def test_tasks_are_for_clients_that_have_them(doors: Doors) -> None:
    async with client(doors) as mcp:
        with pytest.raises(MCPError, match="Missing required client capability"):
            await looked(mcp, "any", "working")


# ── Stdio ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@ERAS
async def test_the_same_over_stdio(doors: Doors, mode: str) -> None:
    doors.team.tools["red"].asks = "shade"
    elicit, asked = answering(filled("this shade"))
    arguments = ["-m", "metier.cluster.cli", "mcp", "--nats", doors.nats.url]
    server = StdioServerParameters(command=sys.executable, args=arguments)
    async with Client(server, mode=mode, read_timeout_seconds=2 * LIMIT_S, elicitation_callback=elicit) as mcp:
        tools = (await mcp.list_tools()).tools
        result = await mcp.call_tool("ask_red", {"text": "red"})

    assert "ask_red" in [tool.name for tool in tools]
    assert ["red needs to know: shade."] == asked
    assert "red did 'red\\nthis shade'" == text(result)


async def test_a_call_that_is_cancelled_over_stdio_cancels_its_task(doors: Doors) -> None:
    arguments = ["-m", "metier.cluster.cli", "mcp", "--nats", doors.nats.url]
    server = StdioServerParameters(command=sys.executable, args=arguments)
    async with Client(server, read_timeout_seconds=2 * LIMIT_S) as mcp:
        await leave(mcp)
        await until(doors, State.CANCELLED, await asked_last(doors))
