"""FastStream on JetStream: each actor subscribes to its subject and publishes to the next; the aggregator joins.

After https://faststream.ag2.ai/latest/nats/jetstream/ (stream, durable, ack) and its page on pull consumers: a
request for several messages waits until there are so many; push, which is its default, does not. Several messages are
handled at a time (`max_workers`); msgspec stands in place of Pydantic, as its documentation offers, and is quicker.
FastStream has no join: findings wait in the aggregator's memory.

It warns that a durable push consumer serves one instance, and recommends pull: to scale, not to be quick.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from ops.bench.contender import SPECIALISTS, Ready, Started

from . import services

KEPT = "messages: on disk, acknowledged when handled; not the join, nor the answer"
ANSWERS, ANSWER_S = "answers", 60.0


@asynccontextmanager
async def started(*, directory: Path) -> AsyncIterator[Started]:
    """nats-server, a process for each actor, and a client."""
    async with AsyncExitStack() as stack:
        os.environ["METIER_BENCH_NATS"] = await stack.enter_async_context(services.nats(directory))
        # It reads it when it is imported.
        from . import faststream_actors as actors

        run = (sys.executable, "-m", "faststream", "run", "--log-level", "warning")
        commands = [(*run, f"{actors.__name__}:{actor}") for actor in actors.ACTORS]
        await stack.enter_async_context(services.processes(*commands))
        waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        client = actors.connection()

        @client.subscriber(ANSWERS)
        async def answered(answer: dict[str, Any]) -> None:
            if (future := waiting.pop(answer["id"], None)) and not future.done():
                future.set_result(answer)

        await stack.enter_async_context(client)
        await client.start()

        async def ask(text: str) -> None:
            task = {"id": uuid4().hex, "text": text, "reply": ANSWERS}
            future = waiting[task["id"]] = asyncio.get_running_loop().create_future()
            await client.publish(task, "bench.router", stream=actors.STREAM.name)
            async with asyncio.timeout(ANSWER_S):
                answer = await future
            assert len(answer["findings"]) == len(set(SPECIALISTS) & set(text.split()))

        await services.answering(ask)
        versions = {name: version(name) for name in ("faststream", "nats-py")}
        yield Started(Ready(durable="in part", kept=KEPT, versions=versions), {"": ask})
