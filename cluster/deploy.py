"""What Serve is told of a team: one application for each actor and each shared model, so that one changes alone.

The one source for `metier up`, which gives applications to Serve itself (`app.py`), and for the file that
`metier build` writes and `serve deploy` takes. Plain data; no Ray is needed to make it.

Serve compares what it is told with what it runs. When `user_config` differs (the actor's section of the team file), or
the bounds of `autoscaling_config`, it changes running replicas in place; when `args`, `ray_actor_options` or the
autoscaling policy differ, it replaces those of that application. So what changes in place may stand in none of these.
Source: ray/serve/_private/version.py and deploy_utils.py, `get_app_code_version`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from metier.topics.errors import InvalidTeam

from . import build, models
from .gateway.settings import Gateway
from .replica import GRACE_S, Settings
from .team import DOOR, Model, Replicas, Resources, Team

#: Makes an application from its `args`.
BUILDER = "metier.cluster.app:application"

#: A dead process is noticed within this time, in seconds.
HEALTH_PERIOD_S = 1.0
#: What one message costs a replica, until it is measured, in seconds.
SERVICE_S = 0.5

#: Serve gives an application up when its replicas failed to start so often in a row. Here, what fails fails again.
STARTS_HERE = 2
#: On a cluster it may have been a node that was lost, and Serve tries no more before the next deployment.
STARTS = 20
#: Of Serve's controller on a cluster. The first would lower STARTS; the second, if it were on, would end an update for
#: ever when a node is lost meanwhile. An update of which no replica starts ends anyway.
CONTROLLER = {"RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": str(STARTS), "RAY_SERVE_STOP_FAILED_ROLLING_UPDATES": "0"}

#: What Serve itself logs.
QUIET = {"log_level": "WARNING", "enable_access_log": False}


class Arguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the builder of an application is told: `args` in Serve's file."""

    #: The team file, on every node of the cluster.
    team: str
    #: The application: an actor, or a shared model as `models.application` names it.
    name: str
    nats_url: str
    #: A folder on every node for traces and what providers keep; none: no traces without an OTLP endpoint.
    directory: str | None = None
    #: What the application takes from the file beside its own section: `digest`.
    digest: str


def serve_config(team: Team, file: str | Path, nats_url: str, directory: str | None = None) -> dict[str, Any]:
    """What `serve deploy` takes (Serve's ServeDeploySchema), as JSON-able data; a RayService's `serveConfigV2` too.

    `file` is where the team file lies on the nodes of the cluster, whatever file `team` was read from here; `nats_url`
    is the broker as the nodes reach it, `directory` a folder on each of them.
    """
    settings = Settings(nats_url=nats_url, directory=directory)
    return {
        "proxy_location": "Disabled",
        "logging_config": dict(QUIET),
        "controller_options": {"runtime_env": {"env_vars": dict(CONTROLLER)}},
        "applications": [
            {
                "name": name,
                "route_prefix": None,
                "import_path": BUILDER,
                "args": msgspec.to_builtins(_arguments(team, name, str(file), settings)),
                "deployments": [options(team, name, settings)],
            }
            for name in names(team)
        ],
    }


def names(team: Team) -> list[str]:
    """All applications: shared models first, they take longest; last the HTTP door, if the team has one."""
    door = [DOOR] if team.gateway else []
    return [*(models.application(name) for name in models.shared(team)), *build.actors(team), *door]


def _arguments(team: Team, name: str, file: str, settings: Settings) -> Arguments:
    return Arguments(
        team=file,
        name=name,
        nats_url=settings.nats_url,
        directory=settings.directory,
        digest=digest(team, name),
    )


# ── How it runs ──────────────────────────────────────────────────────────────────────────────────────────────────────


def model_of(team: Team, application: str) -> str | None:
    """The shared model that an application serves; none if it is an actor."""
    return next((name for name in models.shared(team) if models.application(name) == application), None)


def holds_model(team: Team, application: str) -> bool:
    """Whether a replica of it reads in a model by Torch: a shared one, or an actor's that is `inside`."""
    model = model_of(team, application) or _own_model(team, application)
    return model is not None and team.models[model].engine in models.BY_TORCH


def _own_model(team: Team, application: str) -> str | None:
    """The model that an actor brings itself; none if it uses a shared one, or none at all."""
    if application not in build.actors(team):
        return None
    model: str | None = getattr(build.section(team, application), "model", None)
    return model if model not in models.shared(team) else None


def options(team: Team, name: str, settings: Settings) -> dict[str, Any]:
    """Serve's options for the one deployment of an application, which has its name."""
    if model := model_of(team, name):
        return _common(name, team.models[model].resources) | _model(team.models[model])
    if name == DOOR and team.gateway:
        return _common(name, Resources()) | _door(team.gateway)
    section = build.section(team, name)
    return _common(name, section.resources) | {
        "user_config": msgspec.json.decode(msgspec.json.encode(section)),
        "graceful_shutdown_timeout_s": GRACE_S + 5,
        "autoscaling_config": _autoscaling(section.replicas) | {"policy": _by_lag(team, name, settings)},
    }


def _common(name: str, resources: Resources) -> dict[str, Any]:
    return {
        "name": name,
        "ray_actor_options": {
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "resources": dict(resources.custom),
        },
        "health_check_period_s": HEALTH_PERIOD_S,
        # Serve waits this long for requests to end; an actor has none, and ends its own work in `__del__`.
        "graceful_shutdown_wait_loop_s": 0.05,
        "logging_config": dict(QUIET),
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "user_config": {},
        # The bus bounds what is asked at once; what is beyond one batch waits in the engine's own queue.
        "max_ongoing_requests": 10_000,
        "graceful_shutdown_timeout_s": 5.0,
        # Models are called, so Serve can count their requests itself.
        "autoscaling_config": _autoscaling(model.replicas) | {"target_ongoing_requests": model.batch},
    }


def _door(gateway: Gateway) -> dict[str, Any]:
    """Replicas listen on one port, which is not Serve's (ops/decisions/0012)."""
    return {
        # Not their number: a replica that stays need not know of those that come.
        "user_config": msgspec.to_builtins(msgspec.structs.replace(gateway, replicas=1)),
        "num_replicas": gateway.replicas,
        "graceful_shutdown_timeout_s": 5.0,
    }


def _autoscaling(size: Replicas) -> dict[str, Any]:
    """The bounds, a fixed size too: a change between both would otherwise replace the replicas.

    Without `initial_replicas`: Serve would go back to it at every change.
    """
    return {
        "min_replicas": size.min,
        "max_replicas": size.max,
        "upscale_delay_s": 0.5,
        "downscale_delay_s": 30.0,
    }


def _by_lag(team: Team, name: str, settings: Settings) -> dict[str, Any]:
    consumer, section = build.consumer(team, name), build.section(team, name)
    return {
        "policy_function": "metier.cluster.scale:ByLag",
        "policy_kwargs": {
            "url": settings.nats_url,
            "root": team.root,
            "stream": consumer.stream,
            "consumer": consumer.name,
            "laned": consumer.laned,
            "service_s": SERVICE_S / build.concurrency(team, name),
            "target_wait_s": section.replicas.target_wait_s,
        },
    }


# ── What it depends on ───────────────────────────────────────────────────────────────────────────────────────────────


def digest(team: Team, name: str) -> str:
    """Sixteen digits that differ when an application must be replaced: not for a change of its own section."""
    return hashlib.sha256(msgspec.json.encode(_beside(team, name), order="sorted")).hexdigest()[:16]


def _beside(team: Team, name: str) -> dict[str, Any]:
    """What an application takes from the team file beside its own section."""
    found: dict[str, Any] = {"root": team.root, "telemetry": team.telemetry}
    if shared := model_of(team, name):
        return found | _loaded(team, shared)
    if name == DOOR:
        return found | {"specialists": list(team.specialists)}
    found["durability"] = team.durability
    if own := _own_model(team, name):
        found |= _loaded(team, own)
    if name in team.specialists:
        found["providers"] = team.providers
    elif name not in team.escalation:
        roster = build.roster(team)
        found |= {"needs": roster.needs, "gives_up_to": roster.gives_up_to, "tiers": roster.tiers}
    return found


def _loaded(team: Team, model: str) -> dict[str, Any]:
    """What a model is made from; a router's with its heads, or with what stands in for them."""
    found: dict[str, Any] = {"model": team.models[model]}
    if model == team.router.model:
        examples = {name: specialist.examples for name, specialist in team.specialists.items()}
        found |= {"heads": team.router.heads, "examples": examples}
    return found


def check(team: Team, given: Arguments) -> None:
    """Whether the team file that a node has is the one the configuration was built from. Raises InvalidTeam."""
    if given.name not in names(team):
        raise InvalidTeam(path=given.team, reason=f"it has no {given.name}: build the configuration again")
    if digest(team, given.name) != given.digest:
        raise InvalidTeam(
            path=given.team,
            reason=f"what {given.name} takes from it is not what the configuration was built from: copy the file to "
            "every node, or build again",
        )
