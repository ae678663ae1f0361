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
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..engines.calibration import NAME, Calibration
from ..tools.base import Offer
from . import card, manifest, spoken, trained
from .evaluation import calls
from .evaluation.calls import Answer, Call, Case
from .examples import Example, Phrasebook, generate
from .lessons import WEIGHTS

#: Points a line is drawn with at most.
_POINTS = 24
#: No answer is surer than this many right ones of the same sort can tell.
_PRIOR = 1.0


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


def written(team: Path, count: int, seed: int) -> list[Case]:
    """Calls of a team's own: those of `calls.yaml` that were kept from training, and as many generated ones."""
    book = Phrasebook.read(team / "training")
    made = [each.example(book.team) for each in spoken.read(team / "training") if each.split == "dev"]
    made += generate(book, count, "dev", seed, WEIGHTS)
    cases = [
        _case(example, name, [book.team.specialists[name].offer(example.text)])
        for example in made
        for name in example.calls
    ]
    return cases[:count]


def _case(example: Example, name: str, offers: list[Offer]) -> Case:
    wanted = {key: value for key, value in example.calls[name].arguments.items() if value is not None}

    def right(call: Call) -> bool:
        return call is not None and {key: value for key, value in call[1].items() if value is not None} == wanted

    today = dt.date.min
    return Case(
        data="dev", group=example.text, text=example.text, offers=offers, today=today, right=right, may_refuse=False
    )


async def answered(base: Path | None, adapter: Path, cases: Sequence[Case]) -> list[Answer]:
    """What the model with its adapter answers."""
    engine = trained.engine(adapter, base)
    await engine.load()
    try:
        return await calls.answers(engine, adapter.name, cases)
    finally:
        await engine.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", type=Path, required=True, help="its folder")
    parser.add_argument("--team", type=Path, help="the team's folder: its own calls")
    parser.add_argument("--data", type=Path, help="the folder of public sets: turns of `sgd`, part dev")
    parser.add_argument("--base-directory", type=Path, help="where the base lies, if it was not pulled")
    parser.add_argument("--count", type=int, default=300, help="answers")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    about = manifest.read(options.adapter)
    cases = written(options.team, options.count, options.seed) if options.team else []
    if options.data:
        cases += calls.dialogues(options.data / "sgd", options.count, options.seed, {"sgd/dev": "dev"})
    random.Random(options.seed).shuffle(cases)
    found = asyncio.run(answered(options.base_directory, options.adapter, cases))
    right = [case.right(answer.call) for case, answer in zip(cases, found, strict=True)]
    line = fit([answer.joint for answer in found], right, ", ".join(sorted({case.data for case in cases})))
    (options.adapter / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(line)) + b"\n")
    share = {"dev.answers": float(len(right)), "dev.exact": round(sum(right) / len(right), 4)}
    about = msgspec.structs.replace(about, metrics=about.metrics | share)
    card.write(about, options.adapter)
    logging.getLogger(__name__).info("%s", share)


if __name__ == "__main__":
    main()
