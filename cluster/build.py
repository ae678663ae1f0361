"""From a team file to the objects that work: actors with their consumers, engines, tools and providers.

Composition alone: nothing here starts a process, and heavy libraries are imported only by the engine that needs them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from metier.actors import policy
from metier.actors.actor import Actor
from metier.actors.aggregator import Aggregator
from metier.actors.engines.base import Encoder, Engine
from metier.actors.expert import Expert
from metier.actors.router import Router
from metier.actors.specialist import Specialist
from metier.actors.tools.base import Tool
from metier.actors.tools.function import FunctionTool
from metier.topics import streams
from metier.topics.bus import Bus
from metier.topics.errors import InvalidTeam
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

from . import models
from .names import construct, load
from .team import Team

#: Makes the engine behind a model's name.
Engines = Callable[[str], Engine]
Encoders = Callable[[str], Encoder]


# ── Who ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def actors(team: Team) -> tuple[str, ...]:
    """The names of all actors."""
    return ("router", *team.specialists, *team.escalation, "aggregator")


def roster(team: Team) -> policy.Roster:
    """The team as the policy sees it."""
    gives_up_to = {"router": team.router.tier} | {name: s.tier for name, s in team.specialists.items()}
    return policy.Roster(
        needs={name: specialist.needs for name, specialist in team.specialists.items()},
        gives_up_to={name: tier for name, tier in gives_up_to.items() if tier in team.escalation},
        tiers={name: _tier(team, name) for name in team.escalation},
        threshold=team.router.threshold,
        open_threshold=team.router.open_threshold,
        private_threshold=team.router.private_threshold,
    )


def _tier(team: Team, name: str) -> policy.Tier:
    tier = team.escalation[name]
    return policy.Tier(
        name=name,
        local=tier.local,
        stand_in=tier.stand_in,
        prompt_price=tier.price_per_million_prompt_tokens,
        output_price=tier.price_per_million_output_tokens,
    )


# ── From where ───────────────────────────────────────────────────────────────────────────────────────────────────────


def consumer(team: Team, actor: str) -> Consumer:
    """What an actor pulls from; the durable consumer has the actor's name."""
    subjects = Subjects(team.root)
    if actor == "router":
        stream, subject = streams.TASKS, subjects.tasks()
    elif actor == "aggregator":
        stream, subject = streams.RESULTS, subjects.everything("result")
    elif actor in team.escalation:
        stream, subject = streams.ESCALATIONS, subjects.escalations(actor)
    else:
        stream, subject = streams.SUBTASKS, subjects.subtasks(actor)
    return Consumer(
        stream=subjects.stream(stream),
        name=actor,
        subject=subject,
        ack_wait_s=team.durability.ack_wait_s,
        max_attempts=team.durability.max_attempts,
        # Twice what they can run: what a replica held that died counts until its ack wait is over.
        max_in_flight=2 * concurrency(team, actor) * section(team, actor).replicas.max,
        laned=actor != "aggregator",
    )


async def ensure(team: Team, bus: Bus, only: Collection[str] | None = None) -> None:
    """Makes the team's streams and consumers, all or those of the actors named, or brings them up to date."""
    await bus.ensure(
        streams.streams(Subjects(team.root), team.durability.stream_replicas),
        [consumer(team, name) for name in actors(team) if only is None or name in only],
    )


def section(team: Team, actor: str) -> Any:
    """The part of the team file that describes one actor."""
    if actor == "router":
        return team.router
    if actor == "aggregator":
        return team.aggregator
    return team.escalation.get(actor) or team.specialists[actor]


def concurrency(team: Team, actor: str) -> int:
    """How many deliveries one replica of an actor works on at once: by default, what its model can batch."""
    described = section(team, actor)
    return int(described.concurrency or team.models[described.model].batch)


def with_section(team: Team, actor: str, new: Mapping[str, Any]) -> Team:
    """The team with one actor's section replaced. Raises InvalidTeam."""
    try:
        changed = msgspec.convert(new, type(section(team, actor)), strict=False)
    except msgspec.ValidationError as error:
        raise InvalidTeam(path=actor, reason=error) from error
    if actor in ("router", "aggregator"):
        return msgspec.structs.replace(team, **{actor: changed})
    where = "escalation" if actor in team.escalation else "specialists"
    return msgspec.structs.replace(team, **{where: {**getattr(team, where), actor: changed}})


# ── With what ────────────────────────────────────────────────────────────────────────────────────────────────────────


def check(team: Team) -> None:
    """Whether everything the file names is there: models, tools, providers. Raises ModelMissing or InvalidTeam."""
    for model in team.models:
        models.check(team, model)
    for name in team.specialists:
        tools(team, name)


def tools(team: Team, name: str, directory: str | Path = ".") -> list[Tool]:
    """A specialist's tools, its MCP servers' apart, on providers of their own. Raises InvalidTeam."""
    found = [load(team, path) for path in team.specialists[name].tools]
    functions = [tool for tool in found if not inspect.isclass(tool)]
    provided = providers(team, {argument for function in functions for argument in _injected(function)}, directory)
    return [_tool(tool, provided) for tool in found]


def _tool(found: Any, provided: Mapping[str, object]) -> Tool:
    """A class is a tool of its own; a function becomes one."""
    return found() if inspect.isclass(found) else FunctionTool(found, provided)  # type: ignore[return-value]


async def mcp_tools(team: Team, name: str) -> list[Tool]:
    """The tools of a specialist's MCP servers, connected. Raises ToolFailed or InvalidTeam."""
    servers = team.specialists[name].mcp
    if not servers:
        return []
    from metier.actors.tools.mcp import McpServer, connect

    opened: list[Tool] = []
    try:
        for server in servers:
            opened += await connect(msgspec.convert(msgspec.to_builtins(server), McpServer))
    except BaseException:
        for tool in opened:
            await tool.close()
        raise
    return opened


def providers(team: Team, wanted: set[str], directory: str | Path = ".") -> dict[str, object]:
    """What stands behind tools, built. An option named `path`, or ending so, starts from the state directory."""
    return {
        name: construct(
            f"providers.{name}.options",
            load(team, provider.use),
            {
                key: str(Path(directory).absolute() / value) if key.endswith("path") else value
                for key, value in provider.options.items()
            },
        )
        for name, provider in team.providers.items()
        if name in wanted
    }


def _injected(function: Callable[..., Any]) -> list[str]:
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]


# ── The actor ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def actor(
    team: Team,
    name: str,
    bus: Bus,
    *,
    engines: Engines | None = None,
    encoders: Encoders | None = None,
    directory: str | Path = ".",
) -> Actor:
    """One member of the team, not opened yet; its MCP servers are connected.

    `engines` and `encoders` make what stands behind a model's name; default: the model itself, in this process.
    """
    known: dict[str, Any] = {"consumer": consumer(team, name), "concurrency": concurrency(team, name)}
    engines = engines or partial(models.engine, team)
    encoders = encoders or partial(models.encoder, team)
    if name == "router":
        return Router(
            bus=bus, subjects=Subjects(team.root), encoder=encoders(team.router.model), roster=roster(team), **known
        )
    if name == "aggregator":
        return Aggregator(bus=bus, roster=roster(team), **known)
    if name in team.escalation:
        tier = team.escalation[name]
        return Expert(tier=_tier(team, name), engine=engines(tier.model), max_tokens=tier.max_tokens, **known)
    return await _specialist(team, name, engines, directory, known)


async def _specialist(
    team: Team, name: str, engines: Engines, directory: str | Path, known: Mapping[str, Any]
) -> Specialist:
    specialist = team.specialists[name]
    own: Sequence[Tool] = tools(team, name, directory)
    return Specialist(
        name=name,
        engine=engines(specialist.model),
        tools=[*own, *await mcp_tools(team, name)],
        adapter=specialist.adapter,
        least_confidence=specialist.confidence,
        may_refuse=specialist.may_refuse,
        deadline_s=specialist.deadline_s,
        local=models.is_local(team.models[specialist.model]),
        **known,
    )
