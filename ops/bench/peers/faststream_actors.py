"""The actors of `faststream_nats`, each an application that `faststream run` starts.

Where the broker is, the environment says.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
from typing import Any

from fast_depends.msgspec import MsgSpecSerializer
from faststream import FastStream
from faststream.nats import JStream, NatsBroker
from nats.js.api import RetentionPolicy

from ops.bench.contender import SPECIALISTS

STREAM = JStream("BENCH", subjects=["bench.>"], retention=RetentionPolicy.WORK_QUEUE)
ACTORS = ("router", "aggregator", *SPECIALISTS)
#: Messages that an actor handles at a time.
WORKERS = 64


def connection() -> Any:
    """A broker, in FastStream's words: one for each actor, and one for the client."""
    return NatsBroker(os.environ["METIER_BENCH_NATS"], serializer=MsgSpecSerializer())


brokers = {actor: connection() for actor in ACTORS}
router, aggregator, red, green, blue = (FastStream(broker) for broker in brokers.values())

#: Findings of tasks that lack some; in memory.
partial: dict[str, list[dict[str, Any]]] = {}


def _subscriber(actor: str) -> Any:
    """Its messages from the stream, acknowledged when handled: FastStream's default, a push consumer."""
    return brokers[actor].subscriber(f"bench.{actor}", stream=STREAM, durable=actor, queue=actor, max_workers=WORKERS)


@_subscriber("router")
async def route(task: dict[str, Any]) -> None:
    """Asks those whom the text names."""
    names = [name for name in SPECIALISTS if name in task["text"].split()]
    for name in names:
        await brokers["router"].publish(task | {"expected": len(names)}, f"bench.{name}", stream=STREAM.name)


def _specialist(name: str) -> None:
    @_subscriber(name)
    async def find(subtask: dict[str, Any]) -> None:
        """Returns at once."""
        finding = subtask | {"specialist": name, "confidence": 1.0}
        await brokers[name].publish(finding, "bench.aggregator", stream=STREAM.name)


for specialist in SPECIALISTS:
    _specialist(specialist)


@_subscriber("aggregator")
async def aggregate(finding: dict[str, Any]) -> None:
    """Makes one answer of the findings once all are there."""
    found = partial.setdefault(finding["id"], [])
    found.append(finding)
    if len(found) == finding["expected"]:
        del partial[finding["id"]]
        answer = {"id": finding["id"], "text": " ".join(each["text"] for each in found), "findings": found}
        await brokers["aggregator"].publish(answer, finding["reply"])
