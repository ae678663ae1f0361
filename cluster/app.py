"""From a team to Serve applications: one for each actor and each shared model, so that one changes alone."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import msgspec
from ray import serve
from ray.serve._private.application_state import StatusOverview
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus, LoggingConfig

from metier.topics.errors import Timeout, Unavailable

from . import build, models, pool
from .replica import GRACE_S, Replica, Settings
from .scale import ByLag
from .team import Replicas, Resources, Team

#: Told when an application's state changes: its name; then "starting", "ready" or "failed".
Progress = Callable[[str, str], None]

#: Runs a function that blocks, in a thread.
Call = Callable[..., Awaitable[Any]]

#: A dead process is noticed within this time, in seconds.
HEALTH_PERIOD_S = 1.0
#: All actors and models are ready by then, or the deployment has failed, in seconds.
READY_LIMIT_S = 300.0
#: What one message costs a replica, until it is measured, and how long one may wait, in seconds.
SERVICE_S, TARGET_WAIT_S = 0.5, 2.0

_QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)
_STATES = {
    ApplicationStatus.RUNNING: "ready",
    ApplicationStatus.DEPLOY_FAILED: "failed",
    ApplicationStatus.UNHEALTHY: "failed",
}


def applications(team: Team, settings: Settings) -> list[tuple[str, serve.Application]]:
    """Each application with its name: shared models first, they take longest."""
    return [
        *((pool.app_name(name), _model(team, name, settings)) for name in models.shared(team)),
        *((name, _actor(team, name, settings)) for name in build.actors(team)),
    ]


def _actor(team: Team, name: str, settings: Settings) -> serve.Application:
    section = build.section(team, name)
    deployment = _deployment(
        Replica,
        name=name,
        user_config=msgspec.to_builtins(section),
        graceful_shutdown_timeout_s=GRACE_S + 5,
        **_options(section.resources),
        **_size(team, name, section.replicas, settings),
    )
    application: serve.Application = deployment.bind(team, name, settings)
    return application


def _model(team: Team, name: str, settings: Settings) -> serve.Application:
    model = team.models[name]
    deployment = _deployment(
        pool.ModelServer,
        name=pool.app_name(name),
        user_config={},
        # The bus bounds what is asked at once; what is beyond one batch waits in the engine's own queue.
        max_ongoing_requests=10_000,
        graceful_shutdown_timeout_s=5,
        **_options(model.resources),
        **_calls(model.replicas, model.batch),
    )
    application: serve.Application = deployment.bind(team, name, team.telemetry, settings.directory)
    return application


def _deployment(kind: type[Any], **options: Any) -> Any:
    """A deployment of a class of an installed module: pickled by its name, not with what its module holds."""
    return serve.deployment(**options)(kind)


def _options(resources: Resources) -> dict[str, Any]:
    return {
        "ray_actor_options": {
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "resources": resources.custom,
        },
        "health_check_period_s": HEALTH_PERIOD_S,
        # Serve waits this long for requests to end; an actor has none, and ends its own work in `__del__`.
        "graceful_shutdown_wait_loop_s": 0.05,
        # An actor's constructor cannot fail, and what fails afterwards fails again.
        "max_constructor_retry_count": 2,
        "logging_config": _QUIET,
    }


def _size(team: Team, name: str, size: Replicas, settings: Settings) -> dict[str, Any]:
    """A fixed number of replicas, or as many as the waiting work needs."""
    if size.min == size.max:
        return {"num_replicas": size.max}
    consumer = build.consumer(team, name)
    policy = AutoscalingPolicy(  # type: ignore[no-untyped-call]
        policy_function=ByLag,
        policy_kwargs={
            "url": settings.nats_url,
            "root": team.root,
            "stream": consumer.stream,
            "consumer": consumer.name,
            "service_s": SERVICE_S / build.section(team, name).concurrency,
            "target_wait_s": TARGET_WAIT_S,
            "low": size.min,
            "high": size.max,
        },
    )
    return {"autoscaling_config": _autoscaling(size, policy=policy)}


def _calls(size: Replicas, batch: int) -> dict[str, Any]:
    """The same for models, which are called: Serve counts their requests itself."""
    return (
        {"num_replicas": size.max}
        if size.min == size.max
        else {"autoscaling_config": _autoscaling(size, target_ongoing_requests=batch)}
    )


def _autoscaling(size: Replicas, **more: Any) -> AutoscalingConfig:
    return AutoscalingConfig(
        min_replicas=size.min,
        initial_replicas=size.min,
        max_replicas=size.max,
        upscale_delay_s=0.5,
        downscale_delay_s=30,
        **more,
    )


# ── On a cluster ─────────────────────────────────────────────────────────────────────────────────────────────────────


def start() -> None:
    """Starts Serve on the Ray that this process is connected to, without a proxy. Blocks."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config=_QUIET)


def submit(team: Team, settings: Settings, only: Collection[str] | None = None) -> list[str]:
    """Gives applications to Serve at once, all or those named, and returns their names. Blocks, not for their start.

    Replicas of those given are replaced, the others' stay. Serve changes a running replica in place (`reconfigure`)
    only for applications deployed from a configuration file.
    """
    targets = [
        serve.RunTarget(target=target, name=name, route_prefix=None)
        for name, target in applications(team, settings)
        if only is None or name in only
    ]
    serve.run_many(targets, wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    return [target.name for target in targets]


def delete(limit_s: float = GRACE_S + 10) -> None:
    """Ends all applications and waits until their replicas are gone. Blocks. Raises Timeout."""
    gone = threading.Event()
    for name in _statuses():
        serve.delete(name, _blocking=False)
    end = time.monotonic() + limit_s
    while left := _statuses():
        if time.monotonic() > end:
            raise Timeout(limit_s=limit_s, what=f"{', '.join(left)} did not end")
        gone.wait(0.05)


async def ready(names: list[str], progress: Progress, call: Call, limit_s: float = READY_LIMIT_S) -> None:
    """Waits until all applications work. Raises Unavailable when one failed, or is not ready in time.

    `call` runs a function that blocks.
    """
    told: dict[str, str] = {}
    try:
        async with asyncio.timeout(limit_s):
            while set(told.values()) != {"ready"} or len(told) < len(names):
                for name, state in await call(states, names):
                    if told.get(name) != state:
                        told[name] = state
                        progress(name, state)
                await asyncio.sleep(0.1)
    except TimeoutError:
        late = ", ".join(name for name in names if told.get(name) != "ready")
        raise Unavailable(what=late, reason=f"not ready within {limit_s:g} s") from None


def states(names: list[str]) -> list[tuple[str, str]]:
    """Applications and their states. Raises Unavailable when one failed. Blocks."""
    statuses, found = _statuses(), []
    for name in names:
        if (overview := statuses.get(name)) is None:
            continue
        state = _STATES.get(overview.app_status.status, "starting")
        if state == "failed":
            messages = [overview.app_status.message, *(each.message for each in overview.deployment_statuses)]
            raise Unavailable(what=name, reason=reason(messages))
        found.append((name, state))
    return found


def _statuses() -> dict[str, StatusOverview]:
    """The state of each application, by name. `serve.status()` says it too, but makes all configurations anew."""
    client: Any = _get_global_client()
    return {overview.name: overview for overview in client.list_serve_statuses()}


def reason(messages: list[str]) -> str:
    """The last line of the traceback that Serve quotes, or all it says."""
    text = max(messages, key=len).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [line for line in lines if line.startswith(("metier.", "ray.exceptions"))] or lines
    return named[-1] if named else "Serve gives no reason"
