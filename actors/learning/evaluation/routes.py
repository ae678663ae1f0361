"""How often a router plans right: on requests written by hand, each in English and in French."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from ...engines.base import Encoder
from .. import measures
from ..examples import Example
from ..measures import Figure
from ..pairs import Pair, Plan
from ..private import Confided
from ..sets.dialogues import Joined, Parallel
from .report import FREQUENT, NEAREST, TRAINED, Row

#: What the language's figures must reach, and what they aim at.
F1, EXACT, SAME, P50_MS, P95_MS = (0.95, 0.985), (0.88, 0.95), (0.90, 0.97), (15.0, 8.0), (30.0, 15.0)

#: What the examples of what is private, and of the rest, are named; from where on a request is.
PRIVATE, ORDINARY = "private", "ordinary"
_LINE = 0.5

PARALLEL, JOINED = "X-RiSAWOZ, fr", "multi_sgd/test_seen"
OTHER_SAME, OTHER_F1 = (0.80, 0.92), (0.90, 0.95)


async def rows(
    pairs: Sequence[Pair],
    router: Encoder,
    nearest: Encoder,
    learned: Sequence[Example],
    plan: Callable[..., Plan],
    seed: int,
) -> list[Row]:
    """The figures of all arms. `plan` makes a plan of a routing as the team's router does; `learned` gives the most
    frequent one."""
    usual = Counter(frozenset(each.labels) if not each.open else None for each in learned).most_common(1)[0][0]
    made = _quality(pairs, FREQUENT, [(usual, usual)] * len(pairs), seed)
    for arm, encoder in ((NEAREST, nearest), (TRAINED, router)):
        plans = [(plan(await encoder.route(pair.en)), plan(await encoder.route(pair.fr))) for pair in pairs]
        made += _quality(pairs, arm, plans, seed)
    return made + await _latency(pairs, router)


async def confided(given: Sequence[Confided], router: Encoder, nearest: Encoder, seed: int) -> list[Row]:
    """How well what is private is told from the rest, in each language; `nearest` knows examples of both by name."""
    found: list[Row] = []
    for language in ("en", "fr"):
        texts = [getattr(each, language) for each in given]
        routed = [await router.route(text) for text in texts]
        near = [(await nearest.route(text)).specialists for text in texts]
        arms = {
            FREQUENT: [False] * len(given),
            NEAREST: [scores[PRIVATE] > scores[ORDINARY] for scores in near],
            TRAINED: [routing.private >= _LINE for routing in routed],
        }
        for arm, told in arms.items():
            hits = [2.0 * (is_ and each.private) for is_, each in zip(told, given, strict=True)]
            sizes = [float(is_ + each.private) for is_, each in zip(told, given, strict=True)]
            recall = [float(is_) for is_, each in zip(told, given, strict=True) if each.private]
            figures = {"private F1": measures.ratio(hits, sizes, seed=seed), "private recall": measures.mean(recall)}
            if arm == TRAINED and len({each.private for each in given}) == 2:
                pairs = [(routing.private, each.private) for routing, each in zip(routed, given, strict=True)]
                figures["private AUROC"] = measures.drawn(measures.auroc, pairs, seed)
            found += [
                Row(task="router", data=f"by hand, {language}", arm=arm, measure=measure, figure=figure)
                for measure, figure in figures.items()
            ]
    return found


async def others(
    turns: Sequence[Parallel], requests: Sequence[Joined], router: Encoder, plan: Callable[..., Plan], seed: int
) -> list[Row]:
    """The figures on sets of others: turns in two languages, and whole dialogues as one request each."""
    plans = [(plan(await router.route(turn.fr)), plan(await router.route(turn.en))) for turn in turns]
    groups = [turn.dialogue for turn in turns]
    same = measures.mean([float(french == english) for french, english in plans], groups, seed)
    right = measures.mean(
        [float(french == turn.served) for (french, _), turn in zip(plans, turns, strict=True)], groups, seed
    )
    found = [(plan(await router.route(each.text)) or frozenset()) for each in requests]
    hits = [2.0 * len(names & each.served) for names, each in zip(found, requests, strict=True)]
    sizes = [float(len(names) + len(each.served)) for names, each in zip(found, requests, strict=True)]
    rows = [
        (PARALLEL, "same plan as in English", same, OTHER_SAME),
        (PARALLEL, "domain right", right, (None, None)),
        (JOINED, "set F1", measures.ratio(hits, sizes, seed=seed), OTHER_F1),
    ]
    return [
        Row(task="router", data=data, arm=TRAINED, measure=measure, figure=figure, must=must, aim=aim)
        for data, measure, figure, (must, aim) in rows
    ]


def _quality(pairs: Sequence[Pair], arm: str, plans: Sequence[tuple[Plan, Plan]], seed: int) -> list[Row]:
    made: list[Row] = []

    def add(data: str, measure: str, figure: Figure, demands: tuple[float, float]) -> None:
        must, aim = demands if arm == TRAINED else (None, None)
        made.append(Row(task="router", data=data, arm=arm, measure=measure, figure=figure, must=must, aim=aim))

    groups = [str(at) for at in range(len(pairs))]
    for place, language in enumerate(("en", "fr")):
        found = [each[place] for each in plans]
        hits = [2.0 * len((plan or set()) & (pair.plan or set())) for plan, pair in zip(found, pairs, strict=True)]
        sizes = [float(len(plan or ()) + len(pair.plan or ())) for plan, pair in zip(found, pairs, strict=True)]
        exact = [float(plan == pair.plan) for plan, pair in zip(found, pairs, strict=True)]
        add(f"by hand, {language}", "set F1", measures.ratio(hits, sizes, groups, seed), F1)
        add(f"by hand, {language}", "whole set exact", measures.mean(exact, groups, seed), EXACT)
    same = [float(english == french) for english, french in plans]
    add("by hand, fr", "same plan as in English", measures.mean(same, groups, seed), SAME)
    return made


async def _latency(pairs: Sequence[Pair], router: Encoder) -> list[Row]:
    """Of one request at a time, in milliseconds."""
    taken: list[float] = []
    for pair in pairs:
        began = time.perf_counter()
        await router.route(pair.en)
        taken.append(1000 * (time.perf_counter() - began))
    made: list[Row] = []
    for name, share, (must, aim) in (("p50, ms", 50, P50_MS), ("p95, ms", 95, P95_MS)):
        figure = measures.percentile(taken, share)
        made.append(
            Row(
                task="router",
                data="by hand, en",
                arm=TRAINED,
                measure=name,
                figure=figure,
                must=must,
                aim=aim,
                less=True,
            )
        )
    return made
