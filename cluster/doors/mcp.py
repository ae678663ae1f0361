"""MCP: the team, and each specialist alone, as tools.

Over stdio and over streamable HTTP, for clients of the revision of 2026-07-28 and for those before it:

    the answer          the tool's result: its text, and the whole answer as structured content
    progress            progress notifications, if the client gave a token
    input required      an elicitation; for a client that has none, a result that names the task to go on with
    long work           a task of the extension `io.modelcontextprotocol/tasks` (mcp_tasks.py), if the client has it
    cancellation        of the request cancels the task

Source: modelcontextprotocol.io, "Tools", "Elicitation", "Multi Round-Trip Requests"; SEP-2663, "Tasks Extension".
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Annotated, Any

import anyio
import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from metier.topics.errors import MetierError
from metier.topics.messages import TEXT_LIMIT, Answer, State, Task

from ..gateway import problems
from ..gateway.calls import House
from ..gateway.door import Door
from ..gateway.keys import DEFAULT_TENANT
from ..gateway.problems import Problem
from . import asking, mcp_tasks
from .asking import Extra
from .mcp_results import FIELD, broken, elicits, form, question, reply, result

Ctx = ServerRequestContext[Any, Any]
Reply = types.CallToolResult | types.InputRequiredResult | mcp_tasks.CreateTaskResult

#: The house looks at the host of a request itself (`House.tenant`).
_UNCHECKED = TransportSecuritySettings(enable_dns_rebinding_protection=False)
#: The tool that is the team; a specialist's is this, an underscore, and its name.
TOOL = "ask"
#: A client that has tasks gets the answer itself if it comes within this many seconds.
PATIENCE_S = 1.0


class Words(Extra, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a tool takes."""

    text: Annotated[
        str,
        msgspec.Meta(min_length=1, max_length=TEXT_LIMIT, description="The request, whole and in plain words."),
    ]
    task_id: Annotated[
        str, msgspec.Meta(description="A task that asked for input: `text` says what it was missing.")
    ] = ""


class Mcp:
    """A server of MCP for the team behind a house."""

    def __init__(self, house: House, *, tenant: str = DEFAULT_TENANT) -> None:
        self.house = house
        self._tenant = tenant
        self._server: Server[Any] = Server(
            house.crew.name,
            version=asking.VERSION,
            instructions=f"A team of specialists. {TOOL} chooses who works; the others ask one specialist alone.",
            on_list_tools=self._list,
        )
        # Not as `on_call_tool`, whose type knows no result of an extension.
        self._server.add_request_handler("tools/call", types.CallToolRequestParams, self._call)
        mcp_tasks.add_to(self._server, house, self.tenant)
        # Without sessions any of several gateways serves a client.
        self._http = StreamableHTTPSessionManager(
            self._server, stateless=True, security_settings=_UNCHECKED, max_sessions=None
        )

    def tenant(self, ctx: Ctx) -> str:
        """Who asks. Raises Problem."""
        return self.house.tenant(ctx.request) if isinstance(ctx.request, Request) else self._tenant

    # ── Serving ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stdio(self) -> None:
        """Serves this process's standard input and output until the input ends."""
        async with stdio_server() as (read, write):
            await self._server.run(read, write, self._server.create_initialization_options())

    def running(self) -> AbstractAsyncContextManager[None]:
        """What an application that mounts this one enters in its lifespan."""
        return self._http.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application of streamable HTTP, on one path."""
        try:
            self.house.tenant(Request(scope))
        except Problem as problem:
            await problem.response()(scope, receive, send)
        else:
            await self._http.handle_request(scope, receive, send)

    # ── Tools ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _list(self, ctx: Ctx, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        try:
            known = await self.house.crew.specialists(self.house.opened().bus)
        except (MetierError, Problem) as error:
            raise MCPError(types.INTERNAL_ERROR, problems.of(error).detail) from None
        team = f"Asks the team {self.house.crew.name}, which chooses who works: {', '.join(known)}."
        return types.ListToolsResult(
            tools=[_tool(TOOL, team), *(_tool(f"{TOOL}_{name}", about) for name, about in known.items())]
        )

    async def _call(self, ctx: Ctx, params: types.CallToolRequestParams) -> Reply:
        team, _, specialist = params.name.partition("_")
        if team != TOOL or params.name == f"{TOOL}_":
            raise MCPError(types.INVALID_PARAMS, f"There is no tool {params.name!r}.")
        try:
            tenant, door = self.tenant(ctx), self.house.opened()
            if params.request_state is None:
                words = asking.read(Words, params.arguments or {})
                return await self._wait(ctx, door, await self._begin(ctx, tenant, specialist, words))
            given = reply((params.input_responses or {}).get(FIELD))
            if given is not None:
                return await self._wait(ctx, door, await asking.go_on(self.house, tenant, params.request_state, given))
            found = await door.found(tenant, params.request_state)
            return result(await door.wait(asking.turn_of(found, tenant, params.request_state), found.left_s))
        except (MetierError, Problem) as error:
            return broken(problems.of(error).detail)

    async def _begin(self, ctx: Ctx, tenant: str, specialist: str, words: Words) -> Task:
        traceparent = str((ctx.meta or {}).get("traceparent", ""))
        if words.task_id:
            return await asking.go_on(self.house, tenant, words.task_id, words.text, words.deadline_s, traceparent)
        specialists = (specialist,) if specialist else ()
        return await asking.ask(self.house, tenant, words.text, words, specialists, traceparent)

    async def _wait(self, ctx: Ctx, door: Door, task: Task) -> Reply:
        """The answer, or what the client gets in its place. When the request is cancelled, so is the task."""
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        patience_s = PATIENCE_S if modern and mcp_tasks.wanted(ctx) else None
        while True:
            try:
                async with asyncio.timeout(patience_s):
                    answer = await _followed(ctx, door, task)
            except TimeoutError:
                return mcp_tasks.created(await door.found(task.tenant, task.task_id), task.task_id)
            except asyncio.CancelledError:
                with anyio.CancelScope(shield=True):
                    await door.stop(task)
                raise
            if answer.status is not State.INPUT_REQUIRED or not elicits(ctx):
                return result(answer)
            if modern:
                return types.InputRequiredResult(input_requests={FIELD: question(answer)}, request_state=task.task_id)
            asked = form(answer)
            given = reply(await ctx.session.elicit_form(asked.message, asked.requested_schema, ctx.request_id))
            if given is None:
                return result(answer)
            task = await asking.go_on(self.house, task.tenant, task.task_id, given)


async def _followed(ctx: Ctx, door: Door, task: Task) -> Answer:
    """The answer; what happens before it is told as progress."""
    told = 0
    async with aclosing(asking.steps(door, task)) as steps:
        async for item in steps:
            if isinstance(item, Answer):
                return item
            if sentence := asking.told(item):
                told += 1
                await ctx.session.report_progress(told, None, sentence)
    raise AssertionError("a task that is followed ends with its answer or raises")


def _tool(name: str, about: str) -> types.Tool:
    return types.Tool(name=name, description=about, input_schema=_schema())


def _schema() -> dict[str, Any]:
    """What a tool takes, as JSON Schema with its parts in place: many clients follow no references."""
    (_,), parts = msgspec.json.schema_components([Words], ref_template="{name}")

    def inlined(value: Any) -> Any:
        if isinstance(value, dict):
            part = parts.get(value.get("$ref", ""), {})
            return {key: inlined(one) for key, one in {**part, **value}.items() if key != "$ref"}
        return [inlined(one) for one in value] if isinstance(value, list | tuple) else value

    schema: dict[str, Any] = inlined(parts["Words"])
    return schema
