"""Ray Serve handles: the graph as composed deployments, no bus, nothing stored.

After https://docs.ray.io/en/latest/serve/model_composition.html: each deployment holds handles on the next, and
responses are passed on as they are, so that Serve awaits them. One replica each, no CPU reserved: a small machine has
fewer cores than the graph has deployments, and every other contender's processes share them as well. A replica takes as
many requests at a time as come: Serve's default of five is meant for slow models, and leaves 8 tasks a second here.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ops.bench.clock import CLIENT, descendants
from ops.bench.contender import SPECIALISTS, Ready, Started

NAME = "handles"

#: https://docs.ray.io/en/master/cluster/kubernetes/user-guides/kuberay-serve-high-throughput.html: gRPC between
#: replicas, one event loop in each, logs written in batches.
FASTEST = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}
#: The part of a replica's title that Serve writes before the deployment's name.
_REPLICA = f"ray::ServeReplica:{NAME}:"


class Router:
    """Calls the specialists that a text names, all at once."""

    def __init__(self, aggregator: Any, **specialists: Any) -> None:
        self._aggregator = aggregator
        self._specialists = specialists

    async def __call__(self, text: str) -> dict[str, Any]:
        """The answer."""
        words = set(text.split())
        findings = [handle.remote(text) for name, handle in self._specialists.items() if name in words]
        answer: dict[str, Any] = await self._aggregator.remote(text, *findings)
        return answer


class Specialist:
    """Returns at once."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def __call__(self, text: str) -> dict[str, Any]:
        """A finding."""
        return {"specialist": self._name, "text": text, "confidence": 1.0}


class Aggregator:
    """Makes one answer of the findings."""

    async def __call__(self, text: str, *findings: dict[str, Any]) -> dict[str, Any]:
        """The answer."""
        return {"text": " ".join(finding["text"] for finding in findings), "findings": findings}


@asynccontextmanager
async def started(*, directory: Path) -> AsyncIterator[Started]:
    """The graph on a Ray of its own, which takes its settings from the environment."""
    import ray
    from ray import cloudpickle, serve

    # Replicas do not have this folder on their path.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {"ray_actor_options": {"num_cpus": 0}, "max_ongoing_requests": 512}

    def bound(kind: type[Any], name: str, *arguments: Any, **handles: Any) -> Any:
        return serve.deployment(name=name, **options)(kind).bind(*arguments, **handles)

    def deploy() -> Any:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        specialists = {name: bound(Specialist, name, name) for name in SPECIALISTS}
        router = bound(Router, "router", bound(Aggregator, "aggregator"), **specialists)
        return serve.run(router, name=NAME, route_prefix=None)

    handle = await asyncio.to_thread(deploy)

    async def ask(text: str) -> None:
        answer = await handle.remote(text)
        assert len(answer["findings"]) == len(set(SPECIALISTS) & set(text.split()))

    try:
        yield Started(Ready(versions={"ray": ray.__version__}), {"": ask}, _processes)
    finally:
        await asyncio.to_thread(ray.shutdown)


def _processes() -> dict[int, str]:
    """Replicas by the name of their deployment; the rest of Ray by one name."""
    return {
        pid: name
        if name == CLIENT
        else f"{NAME}: {name.removeprefix(_REPLICA).partition('.')[0]}"
        if name.startswith(_REPLICA)
        else "ray"
        for pid, name in descendants().items()
    }
