"""The actors of `taskiq_nats`, as its workers import them: a broker for each. Addresses come from the environment."""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
from typing import Any

from taskiq import TaskiqEvents, gather
from taskiq_nats import PullBasedJetStreamBroker
from taskiq_redis import RedisAsyncResultBackend

from ops.bench.contender import SPECIALISTS

NATS, REDIS = "METIER_BENCH_NATS", "METIER_BENCH_REDIS"
ACTORS = ("router", "aggregator", *SPECIALISTS)
#: How often a result is looked for, and how long.
POLL_S, ANSWER_S = 0.005, 60.0


def _broker(actor: str) -> Any:
    # One message for each request, as by default: a request for more waits until there are so many.
    broker = PullBasedJetStreamBroker(
        os.environ[NATS], subject=f"bench.{actor}", stream_name=f"bench_{actor}", durable=actor
    )
    return broker.with_result_backend(RedisAsyncResultBackend(os.environ[REDIS]))


brokers = {actor: _broker(actor) for actor in ACTORS}
#: What a worker is told to run, by actor's name.
router, aggregator, red, green, blue = brokers.values()


@router.task(task_name="router")
async def route(text: str) -> dict[str, Any]:
    """Asks those whom the text names, all at once, and then the aggregator."""
    asked = [await specialists[name].kiq(text) for name in SPECIALISTS if name in text.split()]
    found = await gather(*asked, timeout=ANSWER_S, periodicity=POLL_S)
    answer = await aggregate.kiq(text, [each.return_value for each in found])
    result: dict[str, Any] = (await answer.wait_result(check_interval=POLL_S, timeout=ANSWER_S)).return_value
    return result


@router.on_event(TaskiqEvents.WORKER_STARTUP)
async def connect(_: Any) -> None:
    """The router's worker sends to the others."""
    for actor in ACTORS[1:]:
        await brokers[actor].startup()


@aggregator.task(task_name="aggregator")
async def aggregate(text: str, findings: list[dict[str, Any]]) -> dict[str, Any]:
    """Makes one answer of the findings."""
    return {"text": " ".join(finding["text"] for finding in findings), "findings": findings}


def _specialist(name: str) -> Any:
    @brokers[name].task(task_name=name)
    async def find(text: str) -> dict[str, Any]:
        """Returns at once."""
        return {"specialist": name, "text": text, "confidence": 1.0}

    return find


specialists = {name: _specialist(name) for name in SPECIALISTS}
