"""An MCP server in a process of its own: `python mcp_server.py`, on stdio."""

from __future__ import annotations

import datetime as dt
import os
from typing import Literal

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

server = MCPServer("library")


class Shelf(BaseModel):
    room: str
    number: int


class Loan(BaseModel):
    title: str
    copies: int
    due: dt.date


@server.tool()
def borrow(title: str, due: dt.date, copies: int = 1, branch: Literal["north", "south"] | None = None) -> Loan:
    """Lends a book until a day. The rest of this description is not for small models."""
    if title == "the Bible":
        raise ToolError("the Bible is not lent out")
    return Loan(title=title if branch is None else f"{title} ({branch})", copies=copies, due=due)


@server.tool()
def shelve(shelf: Shelf, titles: list[str]) -> str:
    """Puts books on a shelf"""
    return f"{len(titles)} in {shelf.room}"


@server.tool()
def pid() -> int:
    """The server's process."""
    return os.getpid()


@server.tool()
def crash() -> str:
    """Ends the server's process at once."""
    os._exit(1)


if __name__ == "__main__":
    server.run("stdio")
