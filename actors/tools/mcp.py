"""Tools of any MCP server, through the official SDK.

    tools = await connect(McpServer(command=("my-mcp-server", "--stdio")))

One session per server, shared by its tools; a server that died is started again at the next call.
Protocol: https://modelcontextprotocol.io/specification (2026-07-28, and the earlier handshakes).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import mcp_types
import msgspec
from mcp import Client, MCPError, StdioServerParameters

from metier.topics.errors import InvalidTeam, ToolFailed

from .base import Offer, Outcome, Request
from .schema import Described


class McpServer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an MCP server is: a command to start (stdio), or the URL of one that runs (streamable HTTP)."""

    command: tuple[str, ...] = ()
    url: str = ""
    #: Tools a specialist may use; empty: all the server has.
    tools: tuple[str, ...] = ()
    #: Names of environment variables the command may see; others, but PATH, HOME and the like, are kept from it.
    env: tuple[str, ...] = ()
    #: For connecting, and for each call.
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if bool(self.command) == bool(self.url):
            # ValueError: msgspec adds the place in the team file to it.
            raise ValueError("an MCP server has either a command or a url")

    @property
    def label(self) -> str:
        """The server as an operator knows it."""
        return self.url or " ".join(self.command)


async def connect(server: McpServer) -> list[McpTool]:
    """The server's tools; each holds the session until it is closed.

    Raises ToolFailed if the server does not answer, InvalidTeam if it lacks a tool the team names.
    """
    session = Session(server)
    try:
        listed = await session.tools()
        by_name = {tool.name: tool for tool in listed}
        if lacking := [name for name in server.tools if name not in by_name]:
            reason = f"the server has no tool {', '.join(lacking)}; it has: {', '.join(by_name) or 'none'}"
            raise InvalidTeam(path=server.label, reason=reason)
        return [McpTool(session, by_name[name]) for name in server.tools or by_name]
    except BaseException:
        await session.close()
        raise


class Session:
    """One MCP session, alive in one task of its own: its cancel scopes must be left where they were entered."""

    def __init__(self, server: McpServer) -> None:
        self.server = server
        self._client: Client | None = None
        self._life: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._turn = asyncio.Lock()
        self._holders = 0

    async def tools(self) -> list[mcp_types.Tool]:
        """Every tool the server lists, all pages. Raises ToolFailed."""
        client = await self._connected(None)
        found: list[mcp_types.Tool] = []
        cursor: str | None = None
        try:
            while True:
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if not cursor:
                    return found
        except MCPError as error:
            raise ToolFailed(tool=self.server.label, reason=f"its tools cannot be listed: {error}") from error

    async def call(self, tool: str, arguments: dict[str, Any]) -> mcp_types.CallToolResult:
        """The server's result. A connection found closed is opened again, once. Raises ToolFailed."""
        client = await self._connected(None)
        try:
            try:
                return await client.call_tool(tool, arguments)
            except MCPError as error:
                if error.code != mcp_types.CONNECTION_CLOSED:
                    raise
                client = await self._connected(client)
                return await client.call_tool(tool, arguments)
        except (MCPError, RuntimeError, ValueError) as error:
            # RuntimeError and ValueError: a result that breaks the tool's own output schema, or the protocol.
            raise ToolFailed(tool=tool, reason=str(error)) from error

    def hold(self) -> None:
        """Counts one more tool that needs the session."""
        self._holders += 1

    async def release(self) -> None:
        """Ends the session with the last tool that needs it."""
        self._holders -= 1
        if self._holders == 0:
            await self.close()

    async def close(self) -> None:
        """Ends the session and the process it started."""
        async with self._turn:
            await self._end()

    async def _connected(self, broken: Client | None) -> Client:
        """The open client, made first where there is none but `broken`. Raises ToolFailed."""
        async with self._turn:
            if self._client is broken and broken is not None:
                await self._end()
            if self._client is None:
                self._client = await self._begin()
            return self._client

    async def _begin(self) -> Client:
        self._stop = asyncio.Event()
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(ready, self._stop), name=f"mcp {self.server.label}")
        limit = self.server.timeout_s
        try:
            await asyncio.wait((ready, self._life), timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._end()
            raise
        if ready.done():
            return ready.result()
        failure = await self._end()
        reason = f"it did not answer within {limit:g} s" if failure is None else f"it does not start: {failure}"
        raise ToolFailed(tool=self.server.label, reason=reason) from failure

    async def _live(self, ready: asyncio.Future[Client], stop: asyncio.Event) -> None:
        async with Client(self._where(), read_timeout_seconds=self.server.timeout_s) as client:
            ready.set_result(client)
            await stop.wait()

    def _where(self) -> StdioServerParameters | str:
        if self.server.url:
            return self.server.url
        command, *args = self.server.command
        env = {name: os.environ[name] for name in self.server.env if name in os.environ}
        return StdioServerParameters(command=command, args=args, env=env)

    async def _end(self) -> BaseException | None:
        """Leaves the session; what it died of, if it did."""
        life, client = self._life, self._client
        self._life = self._client = None
        if life is None:
            return None
        self._stop.set()
        if client is None:
            life.cancel()
        await asyncio.wait((life,))
        return None if life.cancelled() else _root(life.exception())


def _root(error: BaseException | None) -> BaseException | None:
    """The first error inside groups of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class McpTool:
    """One tool of an MCP server."""

    def __init__(self, session: Session, tool: mcp_types.Tool) -> None:
        session.hold()
        self._session = session
        self._open = True
        self._described = Described(tool.name, tool.input_schema, tool.description)

    @property
    def name(self) -> str:
        """The server's name for it."""
        return self._described.name

    def offer(self, request: Request) -> Offer:
        """Signature and first sentence; texts, numbers and dates are words of the request."""
        return self._described.offer(request)

    async def call(self, said: Mapping[str, Any], request: Request) -> Outcome:
        """Calls the server, which checks the arguments. Raises Missing, InvalidValue or ToolFailed."""
        arguments = self._described.understand(said, request)
        result = await self._session.call(self.name, arguments)
        text = "\n".join(part.text for part in result.content if isinstance(part, mcp_types.TextContent))
        if result.is_error:
            raise ToolFailed(tool=self.name, reason=text or "the server gave no reason")
        return Outcome(text=text, data=result.structured_content, arguments=arguments)

    async def close(self) -> None:
        """Lets go of the session; the last tool to do so ends the server's process."""
        if self._open:
            self._open = False
            await self._session.release()
