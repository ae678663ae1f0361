"""MCP's tasks: work that outlasts its request, by the extension `io.modelcontextprotocol/tasks`.

An MCP task is Metier's task by the same id. The library knows extensions, and not this one, so its messages are here.

Source: SEP-2663, "Tasks Extension", final, for the revision of 2026-07-28.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from metier.topics.errors import MetierError
from metier.topics.messages import State
from metier.topics.streams import DAY_S

from ..gateway import problems
from ..gateway.calls import House
from ..gateway.door import Found
from ..gateway.problems import Problem
from . import asking
from .mcp_results import elicits, question, reply, result

EXTENSION = "io.modelcontextprotocol/tasks"
#: How often a client should look, in milliseconds.
POLL_MS = 500
#: The client lacks what a method needs (SEP-2663).
MISSING_CAPABILITY = -32021

Ctx = ServerRequestContext[Any, Any]


class TaskParams(types.RequestParams):
    """Of `tasks/get` and `tasks/cancel`."""

    task_id: str


class UpdateParams(TaskParams):
    """Of `tasks/update`."""

    input_responses: types.InputResponses


class Task(types.Result):
    """A task as it stands; what it is waiting for or came to, if it has."""

    result_type: Literal["complete"] = "complete"
    task_id: str
    status: Literal["working", "input_required", "completed", "cancelled"]
    status_message: str | None = None
    created_at: str
    last_updated_at: str
    ttl_ms: int
    poll_interval_ms: int
    input_requests: types.InputRequests | None = None
    result: types.CallToolResult | None = None


class CreateTaskResult(types.Result):
    """In place of a tool's result: the task to look at."""

    result_type: Literal["task"] = "task"
    task_id: str
    status: Literal["working"] = "working"
    created_at: str
    last_updated_at: str
    ttl_ms: int
    poll_interval_ms: int


def wanted(ctx: Ctx) -> bool:
    """Whether the client says with this request that it has tasks."""
    capabilities = ctx.session.client_capabilities
    return bool(capabilities and EXTENSION in (capabilities.extensions or {}))


def created(found: Found, task_id: str) -> CreateTaskResult:
    """A task that works on: the bus has it, so that any gateway finds it from now on."""
    return CreateTaskResult(task_id=task_id, **_times(found))


def view(found: Found, task_id: str, *, asks: bool) -> Task:
    """A task as it stands. One that waits for input shows what for to a client that can ask, else as its result."""
    task = Task(task_id=task_id, status="working", **_times(found))
    answer = found.answer
    if answer is None or answer.turn != found.turn:
        return task
    if answer.status is State.CANCELLED:
        return task.model_copy(update={"status": "cancelled", "status_message": answer.text})
    if answer.status is State.INPUT_REQUIRED and asks:
        inputs = {_key(found): question(answer)}
        return task.model_copy(
            update={"status": "input_required", "status_message": answer.text, "input_requests": inputs}
        )
    return task.model_copy(update={"status": "completed", "result": result(answer)})


def add_to(server: Server[Any], house: House, tenant: Callable[[Ctx], str]) -> None:
    """Adds the extension to a server."""

    async def get(ctx: Ctx, params: TaskParams) -> Task:
        found = await house.opened().found(tenant(ctx), params.task_id)
        return view(found, params.task_id, asks=elicits(ctx))

    async def update(ctx: Ctx, params: UpdateParams) -> types.EmptyResult:
        found = await house.opened().found(tenant(ctx), params.task_id)
        # Replies to what is not asked, or no more, are passed over, as the extension wants it.
        if given := reply(params.input_responses.get(_key(found))):
            await asking.go_on(house, tenant(ctx), params.task_id, given)
        return types.EmptyResult()

    async def cancel(ctx: Ctx, params: TaskParams) -> types.EmptyResult:
        door = house.opened()
        found = await door.found(tenant(ctx), params.task_id)
        await door.cancel(found, tenant(ctx), params.task_id)
        return types.EmptyResult()

    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", TaskParams, _guarded(get))
    server.add_request_handler("tasks/update", UpdateParams, _guarded(update))
    server.add_request_handler("tasks/cancel", TaskParams, _guarded(cancel))


def _guarded(handle: Callable[[Ctx, Any], Awaitable[Any]]) -> Callable[[Ctx, Any], Awaitable[Any]]:
    """A handler whose errors are MCP's, and which is for clients with the extension alone."""

    async def guarded(ctx: Ctx, params: Any) -> Any:
        if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found")
        if not wanted(ctx):
            required: dict[str, Any] = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
            raise MCPError(MISSING_CAPABILITY, "Missing required client capability", required)
        try:
            return await handle(ctx, params)
        except (MetierError, Problem) as error:
            problem = problems.of(error)
            code = types.INVALID_PARAMS if problem.status < 500 else types.INTERNAL_ERROR
            raise MCPError(code, problem.detail) from None

    return guarded


def _key(found: Found) -> str:
    """Names a question, once in a task's life."""
    return f"turn-{found.turn}"


def _times(found: Found) -> dict[str, Any]:
    at = found.accepted.at if found.accepted else dt.datetime.now(dt.UTC)
    if found.plan and not found.accepted:
        at = found.plan.deadline - dt.timedelta(seconds=found.plan.task.deadline_s)
    stamp = at.isoformat(timespec="milliseconds")
    return {
        "created_at": stamp,
        "last_updated_at": stamp,
        "ttl_ms": int(DAY_S * 1000),
        "poll_interval_ms": POLL_MS,
    }
