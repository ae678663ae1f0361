"""What a client that is not ours sees when something is wrong: the rows of the page's table of errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client as Nats
from nats.js.errors import NoStreamResponseError

from harness.house import SUBJECTS, stored
from harness.pages import table
from harness.served import Served, served
from metier.topics import streams

PAGE = Path(__file__).parents[2] / "ops" / "publish.md"
TASK = "metier.task.default.interactive"
LIMIT_S = 10.0

#: What is published, and what the answer says of it.
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "empty": (TASK, {"text": " "}, "The text is empty"),
    "long": (TASK, {"text": "x" * 8001}, "The text has 8001 characters; the limit is 8000"),
    "nowhere": (TASK, {"text": "red", "context": {"time_zone": "Mars/Olympus"}}, "'Mars/Olympus' is not a time zone"),
    "elsewhere": (
        "metier.task.default.batch",
        {"text": "red"},
        "class 'interactive', its subject 'metier.task.default.batch'",
    ),
    "another": ("metier.task.acme.interactive", {"text": "red"}, "tenant 'default' and class 'interactive'"),
}

#: What is buried, and why.
DEAD = {
    b"{": "Not a valid task: Input data was truncated.",
    b'{"text":"red","colour":7}': "Not a valid task: Object contains unknown field `colour`",
    b'{"type":"task/2","text":"red"}': "This task has version 2; this Metier reads version 1.",
}


@pytest.fixture
async def team(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as team:
        yield team


@pytest.fixture
async def raw(team: Served) -> AsyncIterator[Nats]:
    connection = await nats.connect(team.server.url)
    yield connection
    await connection.close()


async def test_a_task_that_nobody_stores_fails_when_it_is_published(raw: Nats) -> None:
    with pytest.raises(NoStreamResponseError):
        await raw.jetstream().publish("acme.task.default.interactive", b'{"text":"red"}')


@pytest.mark.parametrize("name", REFUSED)
async def test_a_task_that_cannot_be_accepted_is_answered_with_the_reason(raw: Nats, name: str) -> None:
    subject, task, reason = REFUSED[name]
    answers = await raw.subscribe(f"metier.answer.*.{name}.1")
    await raw.jetstream().publish(subject, json.dumps({"task_id": name, **task}).encode())
    answer = json.loads((await answers.next_msg(timeout=LIMIT_S)).data)

    assert ("failed", name) == (answer["status"], answer["task_id"])
    assert reason in answer["text"]


async def test_what_is_no_task_is_answered_by_nobody_and_found_by_the_operator(team: Served, raw: Nats) -> None:
    answers = await raw.subscribe("metier.answer.>")
    for payload in DEAD:
        await raw.jetstream().publish(TASK, payload)
    found = await stored(team.house.bus, streams.DEAD, SUBJECTS.everything("dead"), len(DEAD), LIMIT_S)

    reasons = [one["reason"] for one in found]
    assert all(any(said.startswith(reason) for said in reasons) for reason in DEAD.values()), reasons
    assert 0 == answers.pending_msgs


def test_the_page_has_these_rows() -> None:
    rows = " ".join(row[0] for row in table(PAGE, "What happens"))

    for happens in ("Nobody stores the task", "The text is empty or above 8,000 characters", "The bytes are no task"):
        assert happens in rows
