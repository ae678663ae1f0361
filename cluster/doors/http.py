"""What the gateway mounts for agents: MCP at `/mcp`; A2A at `/a2a`, with its card where agents look for it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from starlette.routing import BaseRoute, Route

from ..gateway.calls import House
from . import a2a
from .mcp import Mcp


class AgentDoors:
    """The doors of one house."""

    def __init__(self, house: House) -> None:
        self._mcp = Mcp(house)
        self.routes: list[BaseRoute] = [Route("/mcp", self._mcp), *a2a.routes(house)]

    def running(self) -> AbstractAsyncContextManager[None]:
        """To be entered in the application's lifespan."""
        return self._mcp.running()
