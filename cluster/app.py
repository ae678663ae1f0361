"""Serve applications on Ray: what `deploy.py` says of a team, made, given to Serve, watched and ended."""

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
from ray.serve.context import _get_global_client
from ray.serve.schema import ApplicationStatus

from metier.topics.errors import Timeout, Unavailable

from . import deploy, pool, worker
from .replica import GRACE_S, Replica, Settings
from .team import DOOR, Team, read

#: Told when an application's state changes: its name; then "starting", "ready" or "failed".
Progress = Callable[[str, str], None]

#: Runs a function that blocks, in a thread.
Call = Callable[..., Awaitable[Any]]

#: All actors and models are ready by then, or the deployment has failed, in seconds.
READY_LIMIT_S = 300.0
_STATES = {
    ApplicationStatus.RUNNING: "ready",
    ApplicationStatus.DEPLOY_FAILED: "failed",
    ApplicationStatus.UNHEALTHY: "failed",
}


def applications(team: Team, settings: Settings) -> list[tuple[str, serve.Application]]:
    """Each application with its name, for this machine: shared models first, they take longest."""
    return [(name, bound(team, name, settings, here=True)) for name in deploy.names(team)]


def application(args: dict[str, Any]) -> serve.Application:
    """What `serve deploy` calls on a node of the cluster, with what `metier build` wrote. Raises InvalidTeam."""
    given = msgspec.convert(args, deploy.Arguments)
    team = read(given.team)
    deploy.check(team, given)
    settings = Settings(nats_url=given.nats_url, directory=given.directory)
    return bound(team, given.name, settings, here=False)


def bound(team: Team, name: str, settings: Settings, *, here: bool) -> serve.Application:
    """One application: one deployment of a class of an installed module, which Serve pickles by its name.

    `here`, where the workers are Metier's own, a replica with a model asks for one that has imported what that needs.
    """
    options = deploy.options(team, name, settings)
    if here and deploy.holds_model(team, name):
        options["ray_actor_options"]["runtime_env"] = {"env_vars": {worker.KIND: worker.MODEL}}
    starts = deploy.STARTS_HERE if here else deploy.STARTS
    deployment = serve.deployment(max_constructor_retry_count=starts, **options)
    made: serve.Application
    if model := deploy.model_of(team, name):
        made = deployment(pool.ModelServer).bind(team, model, team.telemetry, settings.directory)
    elif name == DOOR:
        from .gateway.replica import Entrance  # here: a team without a door needs no HTTP server

        made = deployment(Entrance).bind(team, settings)
    else:
        made = deployment(Replica).bind(team, name, settings)
    return made


# ── On a cluster ─────────────────────────────────────────────────────────────────────────────────────────────────────


def start() -> None:
    """Starts Serve on the Ray that this process is connected to, without a proxy. Blocks."""
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config=deploy.QUIET)


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
