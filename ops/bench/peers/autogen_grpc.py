"""AutoGen-core's distributed runtime: the router sends to the specialists, gathers, and sends to the aggregator.

After https://microsoft.github.io/autogen/stable/user-guide/core-user-guide/: framework/distributed-agent-runtime.html
(a host, and workers that join it) and design-patterns/mixture-of-agents.html (`send_message` and `asyncio.gather`).
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from autogen_core import AgentId

from ops.bench.contender import SPECIALISTS, Ready, Started

from . import autogen_actors as actors
from . import services


@asynccontextmanager
async def started(*, directory: Path) -> AsyncIterator[Started]:
    """The host, a worker for each actor, and a client that is a worker too."""
    async with AsyncExitStack() as stack:
        port = services.free_port()
        address = f"127.0.0.1:{port}"
        module = (sys.executable, "-m", actors.__name__)
        await stack.enter_async_context(services.processes((*module, "host", address)))
        await services.reachable(port)
        await stack.enter_async_context(services.processes(*((*module, actor, address) for actor in actors.ACTORS)))
        client = await actors.joined(address)
        stack.push_async_callback(client.stop)

        async def ask(text: str) -> None:
            answer: actors.Answer = await client.send_message(actors.Task(text), AgentId("router", "default"))
            assert len(answer.findings) == len(set(SPECIALISTS) & set(text.split()))

        await services.answering(ask)
        versions = {name: version(name) for name in ("autogen-core", "autogen-ext", "grpcio")}
        yield Started(Ready(versions=versions), {"": ask})
