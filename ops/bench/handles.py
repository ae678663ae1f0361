"""The same graph as plain Ray Serve handles: composed deployments, no bus, nothing stored.

After https://docs.ray.io/en/latest/serve/model_composition.html: each deployment holds handles on the next,
and responses are passed on as they are, so that Serve awaits them. One replica each, no CPU reserved, room for all
requests: as Metier's own replicas, and on the same Ray with the same settings.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

NAME = "handles"
SPECIALISTS = ("red", "green", "blue")

Ask = Callable[[str], Awaitable[None]]


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
        return {"state": "ok", "specialist": self._name, "text": text, "confidence": 1.0}


class Aggregator:
    """Makes one answer of the findings."""

    async def __call__(self, text: str, *findings: dict[str, Any]) -> dict[str, Any]:
        """The answer."""
        return {"status": "ok", "text": " ".join(finding["text"] for finding in findings), "findings": findings}


@asynccontextmanager
async def deployed() -> AsyncIterator[Ask]:
    """The graph on the Ray that this process runs; yields what asks it."""
    from ray import cloudpickle, serve

    # Replicas do not have this folder on their path.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {"max_ongoing_requests": 512, "ray_actor_options": {"num_cpus": 0}}

    def bound(kind: type[Any], name: str, *arguments: Any, **handles: Any) -> Any:
        return serve.deployment(name=name, **options)(kind).bind(*arguments, **handles)

    specialists = {name: bound(Specialist, name, name) for name in SPECIALISTS}
    router = bound(Router, "router", bound(Aggregator, "aggregator"), **specialists)
    await asyncio.to_thread(serve.run, router, name=NAME, route_prefix=None)
    handle = serve.get_app_handle(NAME)

    async def ask(text: str) -> None:
        answer = await handle.remote(text)
        assert answer["status"] == "ok"

    try:
        yield ask
    finally:
        await asyncio.to_thread(serve.delete, NAME)
