"""taskiq on JetStream: a broker for each actor; the router sends to the specialists, gathers, sends to the aggregator.

After https://github.com/taskiq-python/taskiq-nats and https://taskiq-python.github.io/guide/getting-started.html,
which stores results in Redis. taskiq-nats can store them in a NATS object store, but leaves a consumer behind for
each reading: after some hundred tasks the server refuses more ("maximum consumers limit reached"). Its push broker is
not for this graph: whoever only sends is given tasks too. Tasks are acknowledged when their result is stored, which
is the default. Results are polled for, every 0.2 s by default, which would be the whole figure: every POLL_S here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from ops.bench.contender import SPECIALISTS, Ready, Started

from . import services

KEPT = "tasks: on disk, acknowledged when the result is stored; results: on disk within a second"


@asynccontextmanager
async def started(*, directory: Path) -> AsyncIterator[Started]:
    """nats-server, Redis, a worker for each actor, and a client."""
    async with AsyncExitStack() as stack:
        os.environ["METIER_BENCH_NATS"] = await stack.enter_async_context(services.nats(directory))
        os.environ["METIER_BENCH_REDIS"] = await stack.enter_async_context(services.redis(directory))
        # It reads them when it is imported.
        from . import taskiq_actors as actors

        worker = (sys.executable, "-m", "taskiq", "worker", "--workers", "1", "--log-level", "WARNING")
        workers = [(*worker, f"{actors.__name__}:{actor}") for actor in actors.ACTORS]
        await stack.enter_async_context(services.processes(*workers))
        await actors.router.startup()
        stack.push_async_callback(actors.router.shutdown)

        async def ask(text: str) -> None:
            task = await actors.route.kiq(text)
            answer = await task.wait_result(check_interval=actors.POLL_S, timeout=actors.ANSWER_S)
            assert len(answer.return_value["findings"]) == len(set(SPECIALISTS) & set(text.split()))

        await services.answering(ask)
        versions = {name: version(name) for name in ("taskiq", "taskiq-nats", "taskiq-redis", "nats-py")}
        versions["redis-server"] = services.redis_version()
        yield Started(Ready(durable="yes", kept=KEPT, versions=versions), {"": ask})
