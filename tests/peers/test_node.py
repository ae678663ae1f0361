"""Clients that are not ours: the page's own examples, run as a reader would, in Node.js and in Python."""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from harness.instant import InstantEngine
from harness.node import Node, said
from harness.pages import examples
from harness.served import Served, served
from metier.topics.messages import State

ROOT = Path(__file__).parents[2]
EXAMPLES = examples(ROOT / "ops" / "publish.md")
CONTRACT = ROOT / "ops" / "contract" / "asyncapi.json"
LIMIT_S = 45.0


@pytest.fixture(scope="session")
def node() -> Node:
    return Node()


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, blue=InstantEngine({}, pause_s=5.0)) as team:
        yield team


async def run(node: Node, team: Served, name: str, *arguments: str) -> str:
    """What an example of the page prints."""
    if name.endswith(".mjs"):
        code, out = await node.run(EXAMPLES[name], *arguments, limit_s=LIMIT_S, NATS_URL=team.server.url)
    else:
        command = [sys.executable, "-c", EXAMPLES[name], *arguments]
        code, out = await said(command, LIMIT_S, {"NATS_URL": team.server.url})
    assert 0 == code, out
    return out


@pytest.mark.parametrize("name", ["follow.mjs", "follow.py"])
async def test_another_client_publishes_follows_and_reads_the_answer(node: Node, team: Served, name: str) -> None:
    lines = (await run(node, team, name, "paint it red", "t-1")).splitlines()

    assert "accepted t-1" == lines[0]
    assert "1 planned" == lines[1].strip()
    assert any(re.match(r"\d finished red", line) for line in lines)
    assert "ok: red did 'paint it red'" == lines[-1]


@pytest.mark.parametrize("name", ["follow.mjs", "follow.py"])
async def test_another_client_continues_where_it_stopped(node: Node, team: Served, name: str) -> None:
    whole = (await run(node, team, name, "red", "t-1")).splitlines()
    rest = (await run(node, team, name, "red", "t-1", "2")).splitlines()

    assert ["known t-1", *whole[3:]] == rest


@pytest.mark.parametrize("name", ["follow.mjs", "follow.py"])
async def test_everything_has_been_seen_already(node: Node, team: Served, name: str) -> None:
    whole = (await run(node, team, name, "red", "t-1")).splitlines()
    last = whole[-2].split()[0]

    assert ["known t-1", whole[-1]] == (await run(node, team, name, "red", "t-1", last)).splitlines()


@pytest.mark.parametrize("name", ["ask.mjs", "ask.py"])
async def test_another_client_asks_with_one_call(node: Node, team: Served, name: str) -> None:
    assert "red did 'paint it red'" == (await run(node, team, name, "paint it red")).strip()


@pytest.mark.parametrize("name", ["ask.mjs", "ask.py"])
async def test_another_client_is_told_why_not(node: Node, team: Served, name: str) -> None:
    out = await run(node, team, name, " ")

    assert "400: The text is empty: a task needs at least one word." == out.strip()


async def test_another_client_cancels(node: Node, team: Served) -> None:
    task = await team.house.client.submit("blue")
    async for item in team.house.client.follow(task):
        if getattr(item, "what", "") == "started":
            await run(node, team, "cancel.mjs", task.task_id)

    assert State.CANCELLED is (await team.house.client.result(task)).status


async def test_the_pages_python_examples_run(node: Node, team: Served) -> None:
    client = (await run(node, team, "client.py", "red")).splitlines()
    blocking = (await run(node, team, "blocking.py", "red")).splitlines()

    assert "planned" == client[0].strip()
    assert ["ok red did 'red'", "to continue after"] == [client[-2], client[-1].rpartition(" ")[0]]
    assert ("red did 'red'", "Answer red did 'red'") == (blocking[0], blocking[-1])


def test_every_example_of_the_page_is_run_here() -> None:
    assert set(EXAMPLES) == {
        "follow.mjs", "follow.py", "cancel.mjs", "ask.mjs", "ask.py", "client.py", "blocking.py"
    }  # fmt: skip


async def test_asyncapis_own_parser_accepts_the_document(node: Node) -> None:
    validate = (ROOT / "tests" / "peers" / "node" / "validate.mjs").read_text()

    assert (0, "") == await node.run(validate, str(CONTRACT), limit_s=LIMIT_S)


async def test_asyncapis_own_parser_sees_what_is_wrong(node: Node, tmp_path: Path) -> None:
    validate = (ROOT / "tests" / "peers" / "node" / "validate.mjs").read_text()
    wrong = tmp_path / "asyncapi.json"
    wrong.write_text(CONTRACT.read_text().replace('"$ref": "#/channels/event"', '"$ref": "#/channels/events"'))
    code, out = await node.run(validate, str(wrong), limit_s=LIMIT_S)

    assert 1 == code
    assert "'#/channels/events' does not exist" in out
