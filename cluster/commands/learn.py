"""`metier train` and `metier eval`: making the small models of a team, and saying how good they are."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from metier.actors import policy
from metier.topics.errors import InvalidInput

from .. import build, models
from .. import team as teams
from ..team import SHIPPED, Team
from ..view import console
from .up import TRIP

if TYPE_CHECKING:
    from metier.actors.engines.base import Engine, Routing
    from metier.actors.learning.evaluation.report import Row


def train(options: Namespace) -> int:
    """Trains the router of a team, or an adapter, with its manifest and card."""
    importlib.import_module(f"metier.actors.learning.{options.what}").main(options.rest)
    return 0


def evaluate(options: Namespace) -> int:
    """Measures what a team ships; prints the tables, and stores them with `--out`."""
    from metier.actors.learning.evaluation.report import Report, markdown

    team = teams.read(options.team or TRIP)
    rows: list[Row] = []
    used: dict[str, str] = {}
    if options.what in ("router", "all"):
        if not team.router.heads:
            raise InvalidInput(reason="this team's router has no trained heads to evaluate")
        used["router"] = _hash(Path(team.path(team.router.heads)))
        rows += asyncio.run(_router(team, options))
    if options.what in ("specialist", "all"):
        if options.data is None:
            raise InvalidInput(reason="specialists are evaluated on public sets: say where they lie with --data")
        adapter = _adapter(team, options.adapter)
        used[adapter.name] = _hash(adapter)
        rows += asyncio.run(_specialist(team, adapter, options))
    command = " ".join(["metier", "eval", options.what, *(["--sample", str(options.sample)] if options.sample else [])])
    report = Report.of(command, options.seed, used, rows)
    if options.out:
        report.write(options.out)
    if options.json:
        print(msgspec.json.encode(report).decode())  # noqa: T201 - for machines
    else:
        console().print(markdown(report), markup=False, soft_wrap=True)
    return 0 if not options.check or all(row.met is not False for row in rows) else 1


async def _router(team: Team, options: Namespace) -> list[Row]:
    from metier.actors.learning.asks import Asks
    from metier.actors.learning.evaluation import routes
    from metier.actors.learning.examples import Phrasebook

    folder = Path(team.directory)
    asks = Asks.read(folder / "training", Phrasebook.read(folder / "training").team)
    trained = models.encoder(team, team.router.model)
    nearest = models.encoder(_by_example(team, asks.examples(10)), team.router.model)
    pairs = routes.read(folder / "evaluation")[: options.sample or None]
    for encoder in (trained, nearest):
        await encoder.load()
    learned = asks.requests(1_000, "train", options.seed)
    return await routes.rows(pairs, trained, nearest, learned, _planner(team), options.seed)


def _planner(team: Team) -> Callable[[Routing], frozenset[str] | None]:
    roster = build.roster(team)

    def plan(routing: Routing) -> frozenset[str] | None:
        names = frozenset(node.specialist for node in policy.nodes(routing, roster).values())
        return None if names <= roster.tiers.keys() else names

    return plan


def _by_example(team: Team, examples: Mapping[str, tuple[str, ...]]) -> Team:
    """The team as one without trained heads."""
    specialists = {
        name: msgspec.structs.replace(specialist, examples=examples.get(name, ()))
        for name, specialist in team.specialists.items()
    }
    router = msgspec.structs.replace(team.router, heads=None)
    return msgspec.structs.replace(team, router=router, specialists=specialists)


async def _specialist(team: Team, adapter: Path, options: Namespace) -> list[Row]:
    from metier.actors.learning.evaluation import calls
    from metier.actors.learning.evaluation.report import BASE, FREQUENT, TRAINED

    count = options.sample or 10_000
    cases = calls.dialogues(options.data / "sgd", count, options.seed)
    cases += calls.functions(options.data / "bfcl", count, options.seed)
    rows = calls.rows(cases, calls.usual(cases), FREQUENT, options.seed)
    engine = _engine(team, adapter)
    await engine.load()
    try:
        if not options.quick:
            shots = calls.shots(options.data / "sgd", options.seed)
            rows += calls.rows(cases, await calls.answers(engine, None, cases, shots), BASE, options.seed)
        rows += calls.rows(cases, await calls.answers(engine, adapter.name, cases), TRAINED, options.seed)
    finally:
        await engine.close()
    return rows


def _engine(team: Team, adapter: Path) -> Engine:
    name = next(name for name, model in team.models.items() if model.engine == "transformers")
    model = msgspec.structs.replace(team.models[name], adapters={adapter.name: str(adapter)})
    return models.engine(msgspec.structs.replace(team, models={**team.models, name: model}), name)


def _adapter(team: Team, name: str) -> Path:
    """An adapter of the team by name, one that is shipped, or a folder."""
    for model in team.models.values():
        if name in model.adapters:
            return Path(team.path(model.adapters[name]))
    for folder in (Path(team.path(f"{SHIPPED}{name}")), Path(name)):
        if (folder / "adapter_config.json").is_file():
            return folder
    known: Any = [each for model in team.models.values() for each in model.adapters]
    raise InvalidInput(reason=f"{name!r} is no adapter's folder, and none of the team's: {', '.join(known)}")


def _hash(folder: Path) -> str:
    files = sorted(folder.rglob("*.safetensors"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
