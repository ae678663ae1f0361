"""From a model's section of the team file to its engine, not loaded yet."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import msgspec

from metier.actors.engines import sources
from metier.actors.engines.base import Encoder, Engine
from metier.topics.errors import InvalidTeam, InvalidValue

from .names import construct, load
from .team import SHIPPED, Model, Team

#: What is shipped for tools that nobody trained for.
GENERAL = "general-tools"

#: Engines that run models in this process by PyTorch.
BY_TORCH = ("transformers", "encoder", "pointer")

#: What a container may take of the processors' time, in microseconds, and in how many (Linux, control groups v2).
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def shared(team: Team) -> tuple[str, ...]:
    """The models that have a deployment of their own. A hosted model has none: reaching it costs no memory."""
    used = {
        team.router.model,
        *(s.model for s in team.specialists.values()),
        *(t.model for t in team.escalation.values()),
    }
    return tuple(
        name
        for name, model in team.models.items()
        if name in used and model.placement == "shared" and model.engine != "openai"
    )


def application(model: str) -> str:
    """The Serve application of a shared model."""
    return f"model-{model}"


def check(team: Team, name: str) -> None:
    """Whether a model can be made, without loading it. Raises ModelMissing or InvalidTeam."""
    model = team.models[name]
    if model.engine in ("transformers", "llamacpp", "vllm", "encoder", "pointer"):
        path(team, name)
        folders = {f"models.{name}.adapters.{adapter}": where for adapter, where in model.adapters.items()}
        if model.engine == "encoder":
            folders |= {"router.heads": team.router.heads} if team.router.heads else {}
        for place, folder in folders.items():
            if not Path(team.path(folder)).is_dir():
                raise InvalidTeam(path=place, reason=f"there is no folder {team.path(folder)}")
    elif model.engine != "openai":
        _class(team, name)


def engine(team: Team, name: str) -> Engine:
    """The engine of a model, not loaded yet. Raises InvalidTeam or ModelMissing."""
    model = team.models[name]
    if model.engine == "transformers":
        from metier.actors.engines.transformers import TransformersEngine, TransformersSettings

        return TransformersEngine(_settings(name, TransformersSettings, **_trained(team, name)))
    if model.engine == "llamacpp":
        from metier.actors.engines.llamacpp import LlamaCppEngine, LlamaCppSettings

        return LlamaCppEngine(_settings(name, LlamaCppSettings, **_trained(team, name)))
    if model.engine == "vllm":
        from metier.actors.engines.vllm import VllmEngine, VllmSettings

        share = model.resources.gpus
        # As much of the GPU as Ray has set aside, and a tenth of that for what vLLM does not count.
        own = {"gpu_memory": 0.9 * share} if 0 < share < 1 else {}
        return VllmEngine(_settings(name, VllmSettings, **(own | _trained(team, name))))
    if model.engine == "pointer":
        from metier.actors.engines.pointer import PointerEngine, PointerSettings

        given = _trained(team, name)
        given["adapters"] = given["adapters"] or {GENERAL: team.path(f"{SHIPPED}{GENERAL}")}
        return PointerEngine(_settings(name, PointerSettings, **given))
    if model.engine == "openai":
        from metier.actors.engines.openai import OpenAIEngine, OpenAISettings

        return OpenAIEngine(_settings(name, OpenAISettings, **model.options))
    return _own(team, name)  # type: ignore[no-any-return]


def _trained(team: Team, name: str) -> dict[str, Any]:
    """What a model with adapters is told."""
    model, where = team.models[name], path(team, name)
    return {
        "path": str(where),
        "name": model.shows or where.name,
        "adapters": {adapter: team.path(folder) for adapter, folder in model.adapters.items()},
        "max_batch": model.batch,
        "threads": int(model.resources.cpus) or cores(),
    } | model.options


def encoder(team: Team, name: str) -> Encoder:
    """The router's model, not loaded yet. Raises InvalidTeam or ModelMissing."""
    model = team.models[name]
    if model.engine != "encoder":
        return _own(team, name)  # type: ignore[no-any-return]
    from metier.actors.engines.encoder import EncoderSettings, RouterEncoder

    where = path(team, name)
    return RouterEncoder(
        _settings(
            name,
            EncoderSettings,
            path=str(where),
            heads=team.path(team.router.heads) if team.router.heads else None,
            examples={name: specialist.examples for name, specialist in team.specialists.items()},
            name=model.shows or where.name,
            **model.options,
        )
    )


def _own(team: Team, name: str) -> Any:
    """An engine the team wrote itself."""
    return construct(f"models.{name}.options", _class(team, name), team.models[name].options)


def _class(team: Team, name: str) -> Any:
    path = team.models[name].engine
    if ":" not in path:
        homes = 'transformers, llamacpp, vllm, pointer, encoder, openai, or "package.module:Class"'
        raise InvalidTeam(path=f"models.{name}.engine", reason=f"{path!r} is not one of {homes}")
    return load(team, path)


def path(team: Team, name: str) -> Path:
    """Where a model's files lie. Raises InvalidTeam or ModelMissing."""
    model = team.models[name]
    if not model.source:
        raise InvalidTeam(path=f"models.{name}", reason="name its `source`")
    text = team.path(model.source) if model.source.startswith(("./", "../")) else model.source
    try:
        return sources.find(sources.parse(text))
    except InvalidValue as error:
        raise InvalidTeam(path=f"models.{name}.source", reason=error) from error


def _settings(model: str, kind: type[Any], /, **values: Any) -> Any:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise InvalidTeam(path=f"models.{model}.options", reason=error) from error


def is_local(model: Model) -> bool:
    """Whether what a model reads stays inside the cluster. An endpoint is local only where the file says so."""
    return model.engine != "openai" or bool(model.options.get("local"))


def cores() -> int:
    """The processors this process may use: all it may run on, or its container's share of their time."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_MAX.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))
