"""The file a user writes, as frozen structs. Unknown keys and bad values are errors that name their place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from metier.topics.errors import InvalidTeam, InvalidToken
from metier.topics.subjects import token

from .gateway.settings import Gateway

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=10_000)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Span = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Price = Annotated[float, msgspec.Meta(ge=0)]

#: Names that are actors of every team, so no specialist or tier may have them.
RESERVED = ("router", "aggregator", "gateway")

#: The application that the `gateway` section describes.
DOOR = "gateway"

#: Begins a path of what is shipped: `adapters: {general-tools: "metier:general-tools"}`.
SHIPPED = "metier:"


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A section of the team file."""


class Replicas(_Section, frozen=True, kw_only=True):
    """How many processes an actor may have."""

    min: Count = 1
    max: Positive = 1
    #: Between the two, there are as many as let waiting work begin within this time.
    target_wait_s: Span = 2.0


class Resources(_Section, frozen=True, kw_only=True):
    """What one replica takes of its node, in Ray's units."""

    cpus: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    gpus: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    #: Custom Ray resources, for placement on named nodes.
    custom: dict[str, float] = {}


class Model(_Section, frozen=True, kw_only=True):
    """One model, used by name."""

    #: A home: transformers, llamacpp, vllm, pointer, encoder, openai, or "package.module:Class" for an engine of your
    #: own.
    engine: str
    #: Where its files come from: an embedded model's name, "pypi:…", "hf:…" or a path (`engines/sources.py`);
    #: not for openai.
    source: str | None = None
    #: The model as it should be shown; default: the source's name.
    shows: str | None = None
    #: LoRA adapters by name, each a path relative to the team file.
    adapters: dict[str, str] = {}
    #: One deployment for all who use the model, batching their prompts; or a copy inside each user's process.
    placement: Literal["shared", "inside"] = "shared"
    replicas: Replicas = Replicas()
    resources: Resources = Resources()
    #: Prompts answered at once by one copy.
    batch: Positive = 8
    #: What else the engine takes.
    options: dict[str, Any] = {}


class Router(_Section, frozen=True, kw_only=True):
    """The actor that reads a task and writes its plan."""

    #: Name of a model with an encoder engine.
    model: str
    #: Trained heads, a path relative to the team file; none: requests are routed by the specialists' `examples`.
    heads: str | None = None
    #: A specialist is called when the encoder gives it at least this probability.
    threshold: Share = 0.5
    #: A request at least this open goes to the large model.
    open_threshold: Share = 0.5
    #: A request more private than this is kept inside the cluster, where the heads tell; 1 keeps none.
    private_threshold: Share = 0.5
    #: The tier open requests go to.
    tier: str = "large"
    replicas: Replicas = Replicas()
    resources: Resources = Resources()
    concurrency: Positive = 64


class Aggregator(_Section, frozen=True, kw_only=True):
    """The actor that collects results."""

    replicas: Replicas = Replicas()
    resources: Resources = Resources()
    concurrency: Positive = 256


class Mcp(_Section, frozen=True, kw_only=True):
    """An MCP server whose tools a specialist uses: a command to start (stdio), or a URL (streamable HTTP)."""

    command: tuple[str, ...] = ()
    url: str = ""
    #: Names to use of what the server offers; empty: all.
    tools: tuple[str, ...] = ()
    timeout_s: Span = 30.0


class Specialist(_Section, frozen=True, kw_only=True):
    """One trade."""

    #: What it does, in one sentence: shown by `status`.
    about: str
    model: str
    adapter: str | None = None
    #: Five to ten requests it should get, for a router without trained heads.
    examples: tuple[str, ...] = ()
    #: Typed functions or Tool classes, "package.module:name".
    tools: tuple[str, ...] = ()
    mcp: tuple[Mcp, ...] = ()
    #: Specialists whose findings it waits for, if they are in the plan.
    needs: tuple[str, ...] = ()
    #: Below this confidence the node is escalated; 0: never.
    confidence: Share = 0.0
    #: The model may say that none of its tools fits: the node is then escalated. For adapters that have learned to.
    may_refuse: bool = False
    #: The tier it escalates to.
    tier: str = "large"
    #: One subtask may take this long.
    deadline_s: Span = 60.0
    replicas: Replicas = Replicas()
    resources: Resources = Resources()
    #: What it works on at once; default: what its model answers at once (`batch`), so that nothing queues behind it.
    concurrency: Positive | None = None


class Tier(_Section, frozen=True, kw_only=True):
    """One size of large model, pooled behind an escalation subject."""

    model: str
    #: The model is small and only stands in: answers and `status` say so.
    stand_in: bool = False
    #: USD per million tokens, read and written: what answers of this tier cost, and what they are compared with.
    price_per_million_prompt_tokens: Price = 0.0
    price_per_million_output_tokens: Price = 0.0
    #: Runs inside the cluster: private tasks may go there.
    local: bool = False
    max_tokens: Positive = 400
    replicas: Replicas = Replicas()
    resources: Resources = Resources()
    #: What it works on at once; default: what its model answers at once (`batch`), so that nothing queues behind it.
    concurrency: Positive | None = None


class Provider(_Section, frozen=True, kw_only=True):
    """What stands behind the tools: an object built once in each specialist that names it."""

    #: "package.module:Class".
    use: str
    options: dict[str, Any] = {}


class Telemetry(_Section, frozen=True, kw_only=True):
    """Where traces and metrics go."""

    #: OTLP over HTTP, for example "http://collector:4318"; none: traces are kept in the state directory.
    otlp_endpoint: str | None = None
    #: Share of tasks that are traced.
    sampling: Share = 1.0


class Durability(_Section, frozen=True, kw_only=True):
    """How hard the bus holds on to what it accepted."""

    #: Broker nodes that hold each stream: 1, 3 or 5.
    stream_replicas: Literal[1, 3, 5] = 1
    #: A delivery that is not settled by then goes to another replica.
    ack_wait_s: Span = 6.0
    max_attempts: Positive = 5


class Team(_Section, frozen=True, kw_only=True):
    """A whole team."""

    name: str
    about: str = ""
    #: All subjects begin with it: several teams share one server.
    root: str = "metier"
    models: dict[str, Model]
    router: Router
    aggregator: Aggregator = Aggregator()
    specialists: dict[str, Specialist]
    escalation: dict[str, Tier] = {}
    providers: dict[str, Provider] = {}
    telemetry: Telemetry = Telemetry()
    #: The HTTP door; none: there is none.
    gateway: Gateway | None = None
    durability: Durability = Durability()
    #: "package.module:function" that measures the whole team, for `metier eval team`.
    evaluation: str | None = None
    #: The folder of the team file: what relative paths start from. Set when the file is read.
    directory: str = "."

    def path(self, relative: str) -> str:
        """A path of the file, made absolute; "metier:name" is what Metier ships in `cluster/teams`."""
        shipped = relative.removeprefix(SHIPPED)
        folder = Path(self.directory) if shipped == relative else Path(__file__).parent / "teams"
        return str((folder / shipped).resolve())


def read(path: str | Path) -> Team:
    """The team in a file. Raises InvalidTeam with the place and the reason."""
    path = Path(path)
    try:
        team = msgspec.yaml.decode(path.read_bytes(), type=Team)
    except FileNotFoundError:
        raise InvalidTeam(path=path, reason="there is no such file") from None
    except msgspec.MsgspecError as error:
        raise InvalidTeam(path=path, reason=error) from error
    team = msgspec.structs.replace(team, directory=str(path.resolve().parent))
    for problem in problems(team):
        raise InvalidTeam(path=path, reason=problem)
    return team


def problems(team: Team) -> list[str]:
    """What is wrong between the sections of a team; empty if nothing is."""
    found: list[str] = []
    names = [("team", team.name), ("root", team.root)]
    names += [("specialist", name) for name in team.specialists] + [("tier", name) for name in team.escalation]
    for what, name in names:
        try:
            token(name, what)
        except InvalidToken as error:
            found.append(str(error))
    if not team.specialists:
        found.append("a team needs at least one specialist")
    taken = set(RESERVED) | set(team.escalation)
    found += [
        f"{name!r} is taken: choose another name for the specialist" for name in team.specialists if name in taken
    ]
    users = {"router": team.router.model} | {f"specialists.{n}": s.model for n, s in team.specialists.items()}
    users |= {f"escalation.{n}": t.model for n, t in team.escalation.items()}
    found += [f"{user} names model {m!r}, which `models` lacks" for user, m in users.items() if m not in team.models]
    tiers = {"router": team.router.tier} | {f"specialists.{n}": s.tier for n, s in team.specialists.items()}
    if team.escalation:
        found += [
            f"{user} names tier {t!r}, which `escalation` lacks"
            for user, t in tiers.items()
            if t not in team.escalation
        ]
    encoder = team.models.get(team.router.model)
    if encoder and encoder.engine == "encoder" and not team.router.heads:
        bare = [name for name, specialist in team.specialists.items() if not specialist.examples]
        found += [f"specialists.{name} needs `examples`, since the router has no trained heads" for name in bare]
    for name, specialist in team.specialists.items():
        found += _specialist_problems(team, name, specialist)
    return found + _cycle(team)


def _specialist_problems(team: Team, name: str, specialist: Specialist) -> list[str]:
    place = f"specialists.{name}"
    found = [f"{place} needs {n!r}, which is not a specialist" for n in specialist.needs if n not in team.specialists]
    model = team.models.get(specialist.model)
    if model and specialist.adapter and specialist.adapter not in model.adapters:
        found.append(f"{place} names adapter {specialist.adapter!r}, which models.{specialist.model}.adapters lacks")
    if not specialist.tools and not specialist.mcp:
        found.append(f"{place} has no tools: name at least one under `tools` or `mcp`")
    if specialist.replicas.min > specialist.replicas.max:
        found.append(f"{place}.replicas: min {specialist.replicas.min} is more than max {specialist.replicas.max}")
    found += [f"{place}.mcp: give either a command or a url" for m in specialist.mcp if bool(m.command) == bool(m.url)]
    return found


def _cycle(team: Team) -> list[str]:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> str | None:
        if name in path:
            return " -> ".join((*path[path.index(name) :], name))
        if name in done or name not in team.specialists:
            return None
        for need in team.specialists[name].needs:
            if found := visit(need, (*path, name)):
                return found
        done.add(name)
        return None

    for name in team.specialists:
        if found := visit(name, ()):
            return [f"specialists wait for each other: {found}"]
    return []
