"""`metier eval`: how good the small models of a team are."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import logging
import tempfile
from argparse import Namespace
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from metier.actors import policy
from metier.topics.errors import InvalidInput

from .. import build, models
from .. import team as teams
from ..names import load
from ..team import SHIPPED, Team
from ..view import console
from .session import TRIP

if TYPE_CHECKING:
    from metier.actors.engines.base import Encoder, Engine, Routing, Turn
    from metier.actors.learning.evaluation.calls import Answer
    from metier.actors.learning.evaluation.cases import Case
    from metier.actors.learning.evaluation.report import Row
    from metier.actors.learning.lessons import Lesson

#: The day on which requests written by hand are said.
_TODAY = dt.date(2026, 11, 23)

#: Of each set, the cases that a model which was not trained is asked: it takes seconds for each.
_UNTRAINED = 40

#: Lessons among which the nearest is looked for.
_LEARNED = 1_500

#: Weights that were evaluated, by name.
Used = dict[str, Path]


def evaluate(options: Namespace) -> int:
    """Measures what a team ships; prints the tables, and stores them with `--out`."""
    from metier.actors.learning.evaluation.report import Report, markdown, read, worse

    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("metier.cluster.teams").setLevel(logging.INFO)
    team = teams.read(options.team or TRIP)
    chosen = [options.what] if options.what != "all" else [name for name in TASKS if options.data or name not in PUBLIC]
    used: Used = {}
    rows = [row for name in chosen for row in asyncio.run(TASKS[name](team, options, used))]
    command = " ".join(["metier", "eval", options.what, *(["--sample", str(options.sample)] if options.sample else [])])
    report = Report.of(command, options.seed, {name: _hash(folder) for name, folder in used.items()}, rows)
    if options.out:
        report.write(options.out)
    if options.json:
        print(msgspec.json.encode(report).decode())  # noqa: T201 - for machines
    else:
        console().print(markdown(report), markup=False, soft_wrap=True)
    fallen = worse(rows, [read(path) for path in options.check]) if options.check else []
    for row in fallen:
        console(stderr=True).print(
            f"worse than it must be: {row.task}, {row.data}, {row.measure}: {row.figure.value:.3f}"
        )
    return 1 if fallen else 0


async def router(team: Team, options: Namespace, used: Used) -> list[Row]:
    """Requests written by hand, against the most frequent plan and routing by example."""
    from metier.actors.learning import pairs, private
    from metier.actors.learning.asks import Asks
    from metier.actors.learning.evaluation import routes
    from metier.actors.learning.examples import Phrasebook
    from metier.actors.learning.sets import dialogues

    if not team.router.heads:
        raise InvalidInput(reason="this team's router has no trained heads to evaluate")
    used["router"] = Path(team.path(team.router.heads))
    folder = Path(team.directory)
    asks = Asks.read(folder / "training", Phrasebook.read(folder / "training").team)
    trained = models.encoder(team, team.router.model)
    nearest = models.encoder(_by_example(team, asks.examples(10)), team.router.model)
    found = pairs.read(folder / "evaluation")[: options.sample or None]
    for encoder in (trained, nearest):
        await encoder.load()
    learned = asks.requests(1_000, "train", options.seed)
    rows = await routes.rows(found, trained, nearest, learned, _planner(team), options.seed)
    if confided := private.read(folder / "evaluation"):
        # They stand in order: of a sample some are private, and some not.
        confided = confided[:: max(1, len(confided) // (options.sample or len(confided)))]
        rows += await routes.confided(confided, trained, await _private_by_example(team), options.seed)
    if options.data is not None:
        turns = dialogues.parallel(options.data / "french_xrisawoz")[: options.sample or None]
        joined = dialogues.joined(options.data / "multi_sgd", "test_seen")[: options.sample or None]
        rows += await routes.others(turns, joined, trained, _planner(team), options.seed)
    return rows


def _planner(team: Team) -> Callable[[Routing], frozenset[str] | None]:
    roster = build.roster(team)

    def plan(routing: Routing) -> frozenset[str] | None:
        names = frozenset(node.specialist for node in policy.nodes(routing, roster).values())
        return None if names <= roster.tiers.keys() else names

    return plan


async def _private_by_example(team: Team) -> Encoder:
    """An encoder that knows examples of what is private, and of what is not, as if they were specialists."""
    from metier.actors.engines.encoder import EncoderSettings, RouterEncoder
    from metier.actors.learning import private
    from metier.actors.learning.evaluation import routes

    examples: dict[str, tuple[str, ...]] = {}
    for each in private.read(Path(team.directory) / "training"):
        name = routes.PRIVATE if each.private else routes.ORDINARY
        examples[name] = (*examples.get(name, ()), each.en, each.fr)
    encoder = RouterEncoder(
        EncoderSettings(path=str(models.path(team, team.router.model)), examples=examples, name="nearest")
    )
    await encoder.load()
    return encoder


def _by_example(team: Team, examples: Mapping[str, tuple[str, ...]]) -> Team:
    """The team as one without trained heads."""
    specialists = {
        name: msgspec.structs.replace(specialist, examples=examples.get(name, ()))
        for name, specialist in team.specialists.items()
    }
    router = msgspec.structs.replace(team.router, heads=None)
    return msgspec.structs.replace(team, router=router, specialists=specialists)


async def intents(team: Team, options: Namespace, used: Used) -> list[Row]:
    """Heads that tell 150 intents apart, and what has none: the machinery of the router on a public set."""
    from metier.actors.engines.encoder import EncoderSettings, RouterEncoder
    from metier.actors.engines.sources import find, parse
    from metier.actors.learning import manifest
    from metier.actors.learning.evaluation import intents

    if options.data is None:
        raise InvalidInput(reason="intents are evaluated on CLINC150: say with --data where the public sets lie")
    folder = Path(team.path(f"{SHIPPED}intents"))
    used[folder.name] = folder
    test, train = (intents.read(options.data / "routing" / f"{part}.jsonl") for part in ("test", "train"))
    examples: dict[str, tuple[str, ...]] = {}
    for each in train:
        if not each.oos and len(known := examples.get(each.intent, ())) < 10:
            examples[each.intent] = (*known, each.text)
    path = str(find(parse(manifest.read(folder).base)))
    trained = RouterEncoder(EncoderSettings(path=path, heads=str(folder), name="trained"))
    nearest = RouterEncoder(EncoderSettings(path=path, examples=examples, name="nearest"))
    for encoder in (trained, nearest):
        await encoder.load()
    return await intents.rows(
        test[:: max(1, len(test) // (options.sample or len(test)))], trained, nearest, options.seed
    )


async def specialist(team: Team, options: Namespace, used: Used) -> list[Row]:
    """The team's calls on requests written by hand, and an adapter for any tools on public sets, where they lie."""
    from metier.actors.learning import lessons, spoken
    from metier.actors.learning.evaluation import cases
    from metier.actors.learning.sets import functions

    found = spoken.read(Path(team.directory) / "evaluation")[: options.sample or None]
    general = _adapter(team, options.adapter)
    rows: list[Row] = []
    for adapter in dict.fromkeys(each.adapter for each in team.specialists.values() if each.adapter):
        tools = {name: build.tools(team, name) for name, each in team.specialists.items() if each.adapter == adapter}
        known = [each for each in found if each.calls.keys() <= tools.keys()]
        if known:
            asked = cases.by_hand(known, tools, _TODAY)
            learned = partial(lessons.of_team, Path(team.directory), _LEARNED, options.seed)
            rows += await _arms(team, _adapter(team, adapter), asked, learned, options, used)
    if options.data is not None:
        count = options.sample or 10_000
        asked = cases.dialogues(options.data / "sgd", count, options.seed)
        asked += cases.functions(options.data / "bfcl", count, options.seed)
        learned = partial(functions.general, _LEARNED, options.seed, options.data / "sgd", general / "training")
        rows += await _arms(team, general, asked, learned, options, used)
    if not rows:
        raise InvalidInput(reason="this team has no evaluation/calls.yaml: say with --data where public sets lie")
    return rows


async def _arms(
    team: Team,
    adapter: Path,
    cases: Sequence[Case],
    learned: Callable[[], list[Lesson]],
    options: Namespace,
    used: Used,
) -> list[Row]:
    """The figures of the most frequent call, of the nearest lesson's, of a model untrained, and of what was trained."""
    from metier.actors.learning import manifest, trained
    from metier.actors.learning.evaluation import calls, neighbours
    from metier.actors.learning.evaluation.report import BASE, FREQUENT, NEAREST, TRAINED

    used[adapter.name] = adapter
    rows = calls.rows(cases, calls.usual(cases), FREQUENT, options.seed)
    if not options.quick:
        encoder = models.path(team, team.router.model)
        rows += calls.rows(cases, neighbours.answers(encoder, learned(), cases), NEAREST, options.seed)
    if options.data is not None and not options.quick:
        shots = calls.shots(options.data / "sgd", options.seed)
        base = models.engine(team, next(name for name, model in team.models.items() if model.engine == "transformers"))
        asked = calls.some(cases, _UNTRAINED)
        rows += calls.rows(asked, (await _answers(base, None, asked, shots=shots))[0], BASE, options.seed)
    for folder in (options.against, adapter):
        if folder is None:
            continue
        engine = trained.engine(folder)
        arm = TRAINED if folder == adapter else f"{TRAINED}: {manifest.read(folder).base}"
        few = list(cases[:: max(1, len(cases) // 30)]) if cases[0].part else []
        made, alone = await _answers(engine, folder.name, cases, few)
        rows += calls.rows(cases, made, arm, options.seed)
        rows += [calls.latency(alone, arm, options.seed)] if few else []
    if options.errors:
        with options.errors.open("ab") as file:
            file.writelines(msgspec.json.encode(each) + b"\n" for each in calls.wrong(cases, made))
    return rows


async def _answers(
    engine: Engine, adapter: str | None, cases: Sequence[Case], few: Sequence[Case] = (), shots: Sequence[Turn] = ()
) -> tuple[list[Answer], list[Answer]]:
    """What a model answers to cases, eight at once, and to a few of them one after the other."""
    from metier.actors.learning.evaluation import calls

    await engine.load()
    try:
        made = await calls.answers(engine, adapter, cases, shots)
        return made, await calls.answers(engine, adapter, few, at_once=1)
    finally:
        await engine.close()


async def whole(team: Team, options: Namespace, used: Used) -> list[Row]:
    """What the team says of itself: the function that its file names under `evaluation`, asked of all its models."""
    from ..inside import inside

    if not team.evaluation:
        raise InvalidInput(reason="this team's file names no `evaluation`")
    rows = load(team, team.evaluation)
    for model in team.models.values():
        used |= {name: Path(team.path(path)) for name, path in model.adapters.items()}
    with tempfile.TemporaryDirectory(prefix="metier-") as directory:
        async with inside(team, Path(directory)) as client:
            found: list[Row] = await rows(client, options.sample or 100, options.seed)
            return found


Task = Callable[[Team, Namespace, Used], Coroutine[Any, Any, list["Row"]]]
TASKS: Mapping[str, Task] = {"router": router, "intents": intents, "specialist": specialist, "team": whole}
#: Those that need public sets.
PUBLIC = ("intents",)


def _adapter(team: Team, name: str) -> Path:
    """An adapter of the team by name, one that is shipped, or a folder."""
    for model in team.models.values():
        if name in model.adapters:
            return Path(team.path(model.adapters[name]))
    from metier.actors.learning import trained

    for folder in (Path(team.path(f"{SHIPPED}{name}")), Path(name)):
        if trained.is_adapter(folder) or trained.is_pointer(folder):
            return folder
    known: Any = [each for model in team.models.values() for each in model.adapters]
    raise InvalidInput(reason=f"{name!r} is no adapter's folder, and none of the team's: {', '.join(known)}")


def _hash(folder: Path) -> str:
    files = sorted(folder.rglob("*.safetensors"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
