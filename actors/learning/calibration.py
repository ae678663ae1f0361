"""Fits how often an adapter is right to how sure it seems, on answers that it did not learn from.

    metier train calibration --team cluster/teams/trip --adapter cluster/teams/trip/adapters/trip-tools
    metier train calibration --data DIRECTORY --adapter cluster/teams/general-tools

Isotonic regression by pooling adjacent violators (Zadrozny and Elkan 2002, doi 10.1145/775047.775151): of all rising
lines, the one nearest to the truth in squares.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from ..engines.calibration import NAME, Calibration, shifted
from ..tools.base import Tool
from . import card, manifest, spoken, trained
from .evaluation import calls, cases
from .evaluation.calls import Answer
from .evaluation.cases import Case
from .examples import Phrasebook, generate
from .lessons import WEIGHTS
from .sets import functions

#: The tools of a team's specialists that have an adapter, by name.
ToolsOf = Callable[[Path, Path], Mapping[str, Sequence[Tool]]]

_PARTS = {"sgd/dev": "dev"}
_TODAY = dt.date(2026, 1, 1)
#: Points a line is drawn with at most.
_POINTS = 24
#: No answer is surer than this many right ones of the same sort can tell.
_PRIOR = 1.0
#: No tool is farther from the others, in log odds.
_FARTHEST = 5.0


def isotonic(scores: Sequence[float], right: Sequence[bool]) -> list[tuple[float, float, int]]:
    """Pools of answers by rising score: mean score, share that is right, and size."""
    pools: list[tuple[float, float, int]] = []
    for score, truth in sorted(zip(scores, right, strict=True)):
        pool = (score, float(truth), 1)
        while pools and pools[-1][1] >= pool[1]:
            last = pools.pop()
            size = last[2] + pool[2]
            pool = (
                (last[0] * last[2] + pool[0] * pool[2]) / size,
                (last[1] * last[2] + pool[1] * pool[2]) / size,
                size,
            )
        pools.append(pool)
    return pools


def fit(joint: Sequence[float], right: Sequence[bool], data: str) -> Calibration:
    """The line of some answers. Few answers in a pool tell little, so each pool leans to the mean of all."""
    mean = sum(right) / len(right)
    pools = isotonic(joint, right)
    chances = [(share * size + mean * _PRIOR) / (size + _PRIOR) for _, share, size in pools]
    rising = [max(chances[: at + 1]) for at in range(len(chances))]
    step = max(1, len(pools) // _POINTS)
    places = sorted({*range(0, len(pools), step), len(pools) - 1})
    return Calibration(
        joint=[round(pools[at][0], 6) for at in places],
        chance=[round(rising[at], 4) for at in places],
        data=data,
        answers=len(right),
    )


def shifts(line: Calibration, tools: Sequence[str], joint: Sequence[float], right: Sequence[bool]) -> dict[str, float]:
    """How much likelier than the line says the calls of each tool are right, in log odds: the likeliest shift if shifts
    are normal with a variance of one (Platt 1999, the intercept alone)."""
    made: dict[str, float] = {}
    for tool in sorted(set(tools)):
        own = [(line.of(sure), truth) for each, sure, truth in zip(tools, joint, right, strict=True) if each == tool]
        low, high = -_FARTHEST, _FARTHEST
        while high - low > 1e-4:
            shift = (low + high) / 2
            short = sum(truth - shifted(chance, shift) for chance, truth in own) - shift
            low, high = (shift, high) if short > 0 else (low, shift)
        made[tool] = round(low, 3)
    return made


def written(team: Path, tools: Mapping[str, Sequence[Tool]], count: int, seed: int) -> list[Case]:
    """Calls of a team's own for these specialists: those of `calls.yaml` that were kept from training, then generated
    ones. As in evaluation, a value is right that is understood as the right one."""
    book = Phrasebook.read(team / "training")
    kept = [each for each in spoken.read(team / "training") if each.split == "dev"]
    made = [spoken.of(example) for example in generate(book, count, "dev", seed, WEIGHTS)]
    requests = [each for each in (*kept, *made) if each.calls and each.calls.keys() <= tools.keys()]
    return cases.by_hand(requests, tools, _TODAY)[:count]


async def answered(base: Path | None, adapter: Path, cases: Sequence[Case]) -> list[Answer]:
    """What the model with its adapter answers."""
    engine = trained.engine(adapter, base)
    await engine.load()
    try:
        return await calls.answers(engine, adapter.name, cases)
    finally:
        await engine.close()


def main(arguments: Sequence[str] | None = None, tools: ToolsOf | None = None) -> None:
    """The command line; `arguments` instead of the process's own. Only with `tools` can a team's own calls be read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="its folder")
    parser.add_argument("--team", type=Path, help="the team's folder: its own calls")
    parser.add_argument("--data", type=Path, help="the folder of public sets: turns of `sgd` that were not learned")
    parser.add_argument("--base-directory", type=Path, help="where the base lies, if it was not pulled")
    parser.add_argument("--count", type=int, default=300, help="answers")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    about = manifest.read(options.adapter)
    asked: list[Case] = []
    if options.team:
        if tools is None:
            parser.error("a team's tools are known to `metier train calibration`")
        asked += written(options.team, tools(options.team, options.adapter), options.count, options.seed)
    if options.data:
        asked += cases.dialogues(options.data / "sgd", options.count, options.seed, _PARTS)
    if (options.adapter / "training" / functions.NAME).exists():
        own = functions.read(options.adapter / "training")
        asked += cases.kept([each for each in own if each.split == "dev"])
    random.Random(options.seed).shuffle(asked)
    found = asyncio.run(answered(options.base_directory, options.adapter, asked))
    right = [case.right(answer.call) for case, answer in zip(asked, found, strict=True)]
    joint = [answer.joint for answer in found]
    line = fit(joint, right, ", ".join(sorted({case.data for case in asked})))
    if options.team and trained.is_pointer(options.adapter):
        called = [answer.call[0] if answer.call else "" for answer in found]
        line = msgspec.structs.replace(line, shifts=shifts(line, called, joint, right))
    (options.adapter / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(line)) + b"\n")
    share = {"dev.answers": float(len(right)), "dev.exact": round(sum(right) / len(right), 4)}
    about = msgspec.structs.replace(about, metrics=about.metrics | share)
    card.write(about, options.adapter)
    logging.getLogger(__name__).info("%s", share)


if __name__ == "__main__":
    main()
