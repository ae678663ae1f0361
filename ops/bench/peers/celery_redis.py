"""Celery on Redis: the router replaces itself by a chord, a group of specialists and then the aggregator.

After https://docs.celeryq.dev/en/stable/userguide/: canvas.html (chords) and tasks.html (a task that needs others
does not wait for them). One worker with a queue of its own for each actor, so that each can be scaled alone. For many
short tasks it takes several in advance (optimizing.html), and acknowledges them when they are done.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from celery import Celery, Task, chord

from ops.bench.contender import SPECIALISTS, Ready, Started

from . import services

REDIS = "METIER_BENCH_REDIS"
QUEUES = ("router", "aggregator", *SPECIALISTS)
#: Threads that wait for results: as many as tasks are ever in flight.
THREADS = 256
ANSWER_S = 60.0
KEPT = "tasks and results: on disk within a second, acknowledged when done"

app = Celery("bench", broker=os.environ.get(REDIS), backend=os.environ.get(REDIS))
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=64,
    task_routes={f"bench.{queue}": {"queue": queue} for queue in QUEUES},
)


@app.task(name="bench.router", bind=True)
def route(self: Task, text: str) -> Any:
    """Goes on as those whom the text names, all at once, and then the aggregator."""
    names = [name for name in SPECIALISTS if name in text.split()]
    raise self.replace(chord([specialists[name].s(text) for name in names], aggregate.s(text)))


@app.task(name="bench.aggregator")
def aggregate(findings: list[dict[str, Any]], text: str) -> dict[str, Any]:
    """Makes one answer of the findings."""
    return {"text": " ".join(finding["text"] for finding in findings), "findings": findings}


def _specialist(name: str) -> Task:
    @app.task(name=f"bench.{name}")
    def find(text: str) -> dict[str, Any]:
        """Returns at once."""
        return {"specialist": name, "text": text, "confidence": 1.0}

    return find


specialists = {name: _specialist(name) for name in SPECIALISTS}


@asynccontextmanager
async def started(*, directory: Path, pool: str = "threads") -> AsyncIterator[Started]:
    """Redis, the workers, and a client whose threads wait for results.

    A worker's pool is one thread; prefork, Celery's default, has one more hop and is no quicker with tasks this short.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(services.redis(directory))
        app.conf.update(broker_url=url, result_backend=url)
        worker = (sys.executable, "-m", "celery", "-A", __name__, "worker", "-c", "1", "-P", pool)
        workers = [(*worker, "-Q", queue, "-n", f"{queue}@bench") for queue in QUEUES]
        await stack.enter_async_context(services.processes(*workers, environment={REDIS: url}))
        await asyncio.to_thread(_answering)

        def wait(text: str) -> None:
            answer = route.delay(text).get(timeout=ANSWER_S)
            assert len(answer["findings"]) == len(set(SPECIALISTS) & set(text.split()))

        versions = {"celery": version("celery"), "redis-server": services.redis_version()}
        yield Started(
            Ready(durable="yes", kept=KEPT, versions=versions), {"": lambda text: asyncio.to_thread(wait, text)}
        )


def _answering() -> None:
    """Waits until every worker answers."""
    while len(app.control.ping(timeout=0.5)) < len(QUEUES):
        pass
