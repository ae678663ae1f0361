"""`metier ask`: one task, from the words to the answer."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from argparse import Namespace
from pathlib import Path

import msgspec

from metier.topics.client import Client
from metier.topics.errors import InvalidInput, InvalidValue
from metier.topics.messages import Answer, Context, Event, Privacy, State, Task

from .. import telemetry
from ..team import Team
from ..view import Progress, console, show_answer, working
from .session import connected, where_of

#: Exit status by how the answer ended; 1 for all others.
STATUS = {State.OK: 0, State.INPUT_REQUIRED: 3}

#: What `--json` prints, in this order.
FIELDS = (
    "task_id", "status", "text", "plan", "results", "missing", "cost", "trace_id", "turn", "notes",
)  # fmt: skip


async def ask(options: Namespace) -> int:
    """Asks, shows who works on it, and prints the answer."""
    words = context(options), _deadline_s(options.deadline)
    async with connected(options) as session:
        task = await _submit(session.client, options, *words)
        try:
            answer = (
                await _waited(session.client, task)
                if options.json
                else await _watched(session.client, task, session.team, where_of(options))
            )
        except asyncio.CancelledError:
            await session.client.cancel(task)
            raise
    return STATUS.get(answer.status, 1)


def context(options: Namespace) -> Context:
    """What the words are relative to. Raises InvalidValue."""
    return Context(
        date=_date(options.date) if options.date else None,
        time_zone=options.time_zone or local_time_zone(),
        home=options.home,
    )


def local_time_zone() -> str:
    """This machine's time zone by its IANA name; UTC where it has none."""
    if named := os.environ.get("TZ", "").lstrip(":"):
        return named
    _, found, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    return name if found else "UTC"


def as_json(answer: Answer) -> str:
    """The answer as one object."""
    return msgspec.json.encode({name: getattr(answer, name) for name in FIELDS}).decode()


async def _submit(client: Client, options: Namespace, context: Context, deadline_s: float) -> Task:
    if options.task:
        return await client.follow_up(options.task, options.text, deadline_s=deadline_s)
    privacy = Privacy(options.privacy)
    return await client.submit(options.text, context=context, deadline_s=deadline_s, privacy=privacy)


async def _waited(client: Client, task: Task) -> Answer:
    with working(console(stderr=True), "the team is at work"):
        answer = await client.result(task)
    print(as_json(answer))  # noqa: T201 - exactly one object, whatever the terminal
    return answer


async def _watched(client: Client, task: Task, team: Team, where: str) -> Answer:
    screen = console()
    with Progress(screen) as progress:
        async for item in client.follow(task):
            if isinstance(item, Event):
                progress.show(item)
                continue
            progress.finish(item)
            show_answer(screen, item, tier=dearest(team), trace=_trace_hint(team, item, where), where=where)
            return item
    raise AssertionError("follow ends with an answer or raises")


def dearest(team: Team) -> str | None:
    """The tier that answers are priced against."""
    return max(team.escalation, key=lambda name: team.escalation[name].price_per_million_output_tokens, default=None)


def _trace_hint(team: Team, answer: Answer, where: str) -> str:
    if endpoint := telemetry.endpoint_of(team.telemetry):
        return f"trace {answer.trace_id} went to {endpoint}"
    return f"see how: metier trace{where} {answer.task_id}" if answer.trace_id else ""


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise InvalidValue(value=text, kind="date", reason=f"{error}: write YYYY-MM-DD") from None


def _deadline_s(given: float) -> float:
    if not 0 < given <= 86_400:
        raise InvalidInput(reason=f"--deadline is {given:g} s; it must be above 0 and at most 86400")
    return given
