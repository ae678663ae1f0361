"""`/v1/tasks`: ask, look, cancel, go on, and watch."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator

import msgspec
from starlette.responses import Response

from metier.topics.errors import MetierError, Timeout
from metier.topics.messages import Answer, Task

from . import problems, stream
from .bodies import InputBody, TaskBody, TaskView
from .calls import Call, Operation, Parameter, replied
from .door import Door, Found
from .problems import Problem

#: Letters and signs that can be seen, as the draft of the header has them, with or without its quotes.
_KEY = re.compile(r'"?([\x21\x23-\x5b\x5d-\x7e]{1,255})"?')
#: The sequence of an event; with a turn, of all events up to that turn's answer.
_LAST = re.compile(r"(\d{1,18})(?:\.(\d{1,3}))?")


# ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def post(call: Call) -> Response:
    """Accepts a task."""
    body, key, wait_s = await call.body(TaskBody), idempotency_key(call), call.wait_s()
    await check_specialists(call, body.specialists)
    task = await call.door.accept(call.tenant, body, key, call.traceparent)
    view = view_of(await call.door.found(call.tenant, task.task_id)) if key else _accepted(task)
    return await _told(call, task, view, wait_s)


async def post_input(call: Call) -> Response:
    """Goes on with what a task was missing."""
    body, wait_s = await call.body(InputBody), call.wait_s()
    found = await call.door.found(call.tenant, call.task_id)
    task = await call.door.go_on(found, body, call.traceparent)
    return await _told(call, task, _accepted(task), wait_s)


async def check_specialists(call: Call, names: tuple[str, ...]) -> None:
    """Raises Problem 422 for one whom the team file does not have."""
    if names and call.house.crew.complete:
        known = await call.house.crew.specialists(call.door.bus)
        for name in names:
            if name not in known:
                detail = f"There is no specialist {name!r}; this team has {', '.join(known)}."
                raise Problem(422, detail, kind="unknown-specialist")


async def _told(call: Call, task: Task, view: TaskView, wait_s: float) -> Response:
    """The task as it stands, after the wait if there is one."""
    headers = {"Location": f"/v1/tasks/{task.task_id}"}
    if wait_s and view.status in ("accepted", "running"):
        with call.house.occupied():
            try:
                answer = await call.door.wait(task, wait_s)
            except Timeout:
                pass
            else:
                view = _answered(answer)
        headers["Preference-Applied"] = f"wait={wait_s:.0f}"
    return replied(view, 202 if view.status in ("accepted", "running") else 200, headers)


def idempotency_key(call: Call) -> str:
    """What the caller names this request by; empty: nothing. Raises Problem 400."""
    given = call.request.headers.get("idempotency-key")
    if given is None:
        return ""
    match = _KEY.fullmatch(given)
    if match is None:
        detail = "An Idempotency-Key has 1 to 255 visible ASCII characters."
        raise Problem(400, detail, kind="invalid-idempotency-key")
    return match[1]


# ── Looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def get(call: Call) -> Response:
    """Shows a task as it stands, after the wait if there is one."""
    wait_s = call.wait_s()
    found = await call.door.found(call.tenant, call.task_id)
    if wait_s and found.status in ("accepted", "running"):
        with call.house.occupied():
            try:
                await call.door.wait(_turn(call, found), wait_s)
            except Timeout:
                pass
            else:
                found = await call.door.found(call.tenant, call.task_id)
    return replied(view_of(found))


async def delete(call: Call) -> Response:
    """Cancels a task."""
    found = await call.door.found(call.tenant, call.task_id)
    view = view_of(await call.door.cancel(found, call.tenant, call.task_id))
    return replied(view, 202 if view.status in ("accepted", "running") else 200)


def view_of(found: Found) -> TaskView:
    """A task as it stands."""
    known = found.plan or found.answer or found.accepted
    assert known is not None
    return TaskView(
        task_id=known.task_id if isinstance(known, Answer) else known.task.task_id,
        status=found.status,
        turn=found.turn,
        deadline=found.deadline if found.status in ("accepted", "running") else None,
        plan=found.plan.graph() if found.plan else None,
        answer=found.answer,
    )


def _accepted(task: Task) -> TaskView:
    return TaskView(task_id=task.task_id, status="accepted", turn=task.turn)


def _answered(answer: Answer) -> TaskView:
    return TaskView(
        task_id=answer.task_id,
        status=answer.status.value,  # type: ignore[arg-type]  # an answer is never "escalate"
        turn=answer.turn,
        plan=answer.plan,
        answer=answer,
    )


def _turn(call: Call, found: Found) -> Task:
    return Task(task_id=call.task_id, tenant=call.tenant, turn=found.turn, text="")


# ── Watching ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def events(call: Call) -> Response:
    """Streams a turn's events and its answer; goes on after `Last-Event-ID`. 204: there is nothing to come."""
    after, answered = _last_event(call)
    found = await call.door.found(call.tenant, call.task_id)
    if answered >= found.turn:
        return Response(status_code=204)
    return stream.Stream(call.house, _events(call.door, _turn(call, found), after, found.left_s))


async def _events(door: Door, task: Task, after: int, limit_s: float) -> AsyncGenerator[bytes]:
    yield stream.RETRY
    try:
        async for step in stream.kept_alive(door.follow(task, after, limit_s)):
            if step is None:
                yield stream.KEEP_ALIVE
                continue
            sequence, item = step
            if isinstance(item, Answer):
                yield stream.event(msgspec.json.encode(item), "answer", f"{sequence}.{item.turn}")
            else:
                yield stream.event(msgspec.json.encode(item), item.what, str(sequence))
    except MetierError as error:
        yield stream.event(msgspec.json.encode(problems.of(error).details()), "problem")


def _last_event(call: Call) -> tuple[int, int]:
    """The last event seen, and the last turn whose answer was seen."""
    given = call.request.headers.get("last-event-id") or call.request.query_params.get("after") or "0"
    match = _LAST.fullmatch(given)
    if match is None:
        raise Problem(422, f"{given[:40]!r} is not the id of an event.", kind="invalid-parameter")
    return int(match[1]), int(match[2] or 0)


# ── The table ────────────────────────────────────────────────────────────────────────────────────────────────────────

_ID = Parameter(name="task_id", place="path", about="The task.")
_WAIT = Parameter(
    name="wait_s",
    place="query",
    about="Wait this long for the answer before replying.",
    schema={"type": "number", "minimum": 0},
)
_PREFER = Parameter(name="Prefer", place="header", about="`wait=N`, as `wait_s` (RFC 7240).")
KEY = Parameter(
    name="Idempotency-Key",
    place="header",
    about="The same key twice is one task.",
    schema={"type": "string", "minLength": 1, "maxLength": 255},
)
_LAST_PARAMETER = Parameter(name="Last-Event-ID", place="header", about="Go on after this event.")
_AFTER = Parameter(name="after", place="query", about="As Last-Event-ID, where a header cannot be set.")

OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/tasks",
        handle=post,
        about="Ask the team.",
        body=TaskBody,
        gives={200: TaskView, 202: TaskView},
        problems=(400, 408, 413, 415, 422, 429),
        parameters=(_WAIT, _PREFER, KEY),
    ),
    Operation(
        method="GET",
        path="/v1/tasks/{task_id}",
        handle=get,
        about="See how a task stands.",
        gives={200: TaskView},
        problems=(404, 422),
        parameters=(_ID, _WAIT, _PREFER),
    ),
    Operation(
        method="DELETE",
        path="/v1/tasks/{task_id}",
        handle=delete,
        about="Cancel a task. One that has ended stays as it is.",
        gives={200: TaskView, 202: TaskView},
        problems=(404,),
        parameters=(_ID,),
    ),
    Operation(
        method="GET",
        path="/v1/tasks/{task_id}/events",
        handle=events,
        about="Watch a turn: its events, then its answer. 204 when that was seen.",
        gives={200: stream.MEDIA_TYPE, 204: None},
        problems=(404, 422),
        parameters=(_ID, _LAST_PARAMETER, _AFTER),
    ),
    Operation(
        method="POST",
        path="/v1/tasks/{task_id}/input",
        handle=post_input,
        about="Say what a task is missing: one more turn of it.",
        body=InputBody,
        gives={200: TaskView, 202: TaskView},
        problems=(400, 404, 408, 409, 413, 415, 422),
        parameters=(_ID, _WAIT, _PREFER),
    ),
)
