"""MCP tools against a real server process on stdio."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from metier.actors.tools.base import Missing, Request, marked, spans
from metier.actors.tools.mcp import McpServer, McpTool, connect
from metier.topics.errors import InvalidTeam, InvalidValue, ToolFailed

SCRIPT = Path(__file__).parents[1] / "harness" / "mcp_server.py"
COMMAND = (sys.executable, str(SCRIPT))
REQUEST = Request(text="Lend me two copies of Emma until Friday", today=dt.date(2026, 11, 25))

Tools = dict[str, McpTool]


# One server serves all tests: starting one costs a second of imports.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tools() -> AsyncIterator[Tools]:
    found = {tool.name: tool for tool in await connect(McpServer(command=COMMAND))}
    yield found
    for tool in found.values():
        await tool.close()


def said(**arguments: object) -> dict[str, object]:
    return {"title": "Emma", "due": "Friday", "copies": None, "branch": None, **arguments}


async def server_pid(tools: Tools) -> int:
    return int((await tools["pid"].call({}, REQUEST)).text)


async def test_an_offer_shows_signature_and_first_sentence(tools: Tools) -> None:
    assert tools["borrow"].offer(REQUEST).brief == (
        "borrow(title, due, copies?: int, branch?: north|south) - Lends a book until a day."
    )


async def test_an_offer_asks_for_words_and_numbers_of_the_request_or_null(tools: Tools) -> None:
    schema = tools["borrow"].offer(REQUEST).schema
    words = {"enum": list(dict.fromkeys([None, *spans(REQUEST.text), *marked(REQUEST.text)]))}
    assert schema == {
        "type": "object",
        "properties": {
            "title": words,
            "due": words,
            "copies": {"enum": [None, 2]},
            "branch": {"enum": [None, "north", "south"]},
        },
        "required": ["title", "due", "copies", "branch"],
        "additionalProperties": False,
    }


async def test_nested_properties_are_passed_through_without_references(tools: Tools) -> None:
    properties = tools["shelve"].offer(REQUEST).schema["properties"]
    null, shelf = properties["shelf"]["anyOf"]
    assert ({"type": "null"}, ["room", "number"]) == (null, list(shelf["properties"]))
    assert b"$ref" not in msgspec.json.encode(properties)


async def test_a_call_understands_words_and_returns_what_the_server_returned(tools: Tools) -> None:
    outcome = await tools["borrow"].call(said(copies="two copies", branch="north"), REQUEST)
    assert {"title": "Emma", "due": "2026-11-27", "copies": 2, "branch": "north"} == outcome.arguments
    assert {"title": "Emma (north)", "copies": 2, "due": "2026-11-27"} == outcome.data


async def test_what_was_not_said_is_left_to_the_server(tools: Tools) -> None:
    outcome = await tools["borrow"].call(said(), REQUEST)
    assert {"title": "Emma", "due": "2026-11-27"} == outcome.arguments
    assert outcome.data["copies"] == 1


async def test_nested_arguments_reach_the_server(tools: Tools) -> None:
    outcome = await tools["shelve"].call({"shelf": {"room": "B", "number": 2}, "titles": ["Emma"]}, REQUEST)
    assert outcome.text == "1 in B"


async def test_a_required_argument_that_was_not_said_is_missing(tools: Tools) -> None:
    with pytest.raises(Missing) as caught:
        await tools["borrow"].call(said(title=None, due=None), REQUEST)
    assert caught.value.names == ("title", "due")


async def test_words_that_are_no_date_are_refused_before_the_server_is_asked(tools: Tools) -> None:
    with pytest.raises(InvalidValue, match="'Emma' is not a date"):
        await tools["borrow"].call(said(due="Emma"), REQUEST)


async def test_the_servers_own_words_say_why_a_tool_failed(tools: Tools) -> None:
    with pytest.raises(ToolFailed, match="the Bible is not lent out"):
        await tools["borrow"].call(said(title="the Bible"), REQUEST)


async def test_arguments_the_server_refuses_are_a_failed_tool(tools: Tools) -> None:
    with pytest.raises(ToolFailed, match="number"):
        await tools["shelve"].call({"shelf": {"room": "B"}, "titles": []}, REQUEST)


async def test_calls_run_side_by_side(tools: Tools) -> None:
    calls = [tools["borrow"].call(said(title=f"Book {number}"), REQUEST) for number in range(8)]
    outcomes = await asyncio.gather(*calls)
    assert [f"Book {number}" for number in range(8)] == [outcome.data["title"] for outcome in outcomes]


async def test_a_server_that_died_is_started_again(tools: Tools) -> None:
    first = await server_pid(tools)
    os.kill(first, signal.SIGKILL)
    assert first != await server_pid(tools)


async def test_a_call_that_kills_the_server_twice_fails_and_the_next_one_works(tools: Tools) -> None:
    with pytest.raises(ToolFailed, match="crash: Connection closed"):
        await tools["crash"].call({}, REQUEST)
    assert await server_pid(tools) > 0


async def test_only_listed_tools_are_offered_and_the_process_ends_with_the_last_of_them() -> None:
    listed = await connect(McpServer(command=COMMAND, tools=("borrow", "pid")))
    assert ["borrow", "pid"] == [tool.name for tool in listed]
    first, last = listed
    await first.close()
    pid = int((await last.call({}, REQUEST)).text)
    await last.close()
    await last.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_tool_the_server_lacks_is_an_error_that_names_those_it_has() -> None:
    with pytest.raises(InvalidTeam, match="the server has no tool lend; it has: borrow, shelve, pid, crash"):
        await connect(McpServer(command=COMMAND, tools=("lend",)))


async def test_a_command_that_does_not_exist_is_a_failed_tool() -> None:
    with pytest.raises(ToolFailed, match=r"no-such-command: it does not start: .*No such file"):
        await connect(McpServer(command=("no-such-command",)))


async def test_a_server_that_never_answers_is_given_up_after_the_limit() -> None:
    with pytest.raises(ToolFailed, match=r"it did not answer within 0\.2 s"):
        await connect(McpServer(command=("sh", "-c", "cat > /dev/null"), timeout_s=0.2))


async def test_a_url_nobody_listens_at_is_a_failed_tool(unused_tcp_port: int) -> None:
    with pytest.raises(ToolFailed, match="it does not start"):
        await connect(McpServer(url=f"http://127.0.0.1:{unused_tcp_port}/mcp"))


@pytest.mark.parametrize("fields", [{}, {"command": ["server"], "url": "http://localhost/mcp"}])
async def test_a_server_has_either_a_command_or_a_url(fields: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError, match="an MCP server has either a command or a url"):
        msgspec.convert(fields, McpServer)
