"""`metier mcp` and `metier agents`: the team for agents, on standard input and output, or on the bus itself."""

from __future__ import annotations

import asyncio
import signal
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from metier.topics.subjects import token

from ..view import console
from .session import connected

if TYPE_CHECKING:
    from ..gateway.calls import House

# The doors are imported where they open: their libraries would slow every other command.


async def mcp(options: Namespace) -> int:
    """Serves MCP until the input ends."""
    from ..doors.mcp import Mcp

    tenant = token(options.tenant, "tenant")
    async with _opened(options) as house:
        await Mcp(house, tenant=tenant).stdio()
    return 0


async def agents(options: Namespace) -> int:
    """Serves the Synadia agent protocol until Ctrl-C or SIGTERM."""
    from ..doors.agents import Agents

    tenant = token(options.tenant, "tenant")
    async with _opened(options) as house:
        door = Agents(house, tenant=tenant)
        serving = asyncio.create_task(door.run())
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
        listening = asyncio.create_task(door.listening.wait())
        await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
        if listening.done():
            where = f"agents.prompt.metier.{tenant}.>"
            console(stderr=True).print(f"Ready: {where}", style="bold green", markup=False, soft_wrap=True)
        listening.cancel()
        await serving
    return 0


@asynccontextmanager
async def _opened(options: Namespace) -> AsyncIterator[House]:
    from ..doors import asking
    from ..gateway.crew import Crew

    async with connected(options) as session:
        # Of a team elsewhere whose file was not named, those who answer are asked who they are.
        team = session.team if session.up or options.team else None
        async with asking.opened(session.bus, session.subjects, Crew(session.subjects, team)) as house:
            yield house
