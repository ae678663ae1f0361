"""How often a model calls right, the tool and every value, on what was set apart.

Decoding is that of serving: the same engine, the same grammar.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...engines.base import Engine, Turn, complete
from ...prompts import call_prompt, parse_call
from ...tools.base import Request
from .. import measures
from ..measures import Figure
from ..sets import sgd
from .cases import BY_HAND, SEEN, UNSEEN, Call, Case
from .report import TRAINED, Row

#: By set and measure: what must be reached, and what is aimed at.
DEMANDS = {
    (SEEN, "call exact"): (0.78, 0.88),
    (UNSEEN, "call exact"): (0.65, 0.78),
    (SEEN, "slot F1"): (0.90, 0.96),
    ("bfcl/simple_python", "call exact"): (0.40, 0.65),
    ("bfcl/multiple", "call exact"): (0.35, 0.65),
    ("bfcl/irrelevance", "call exact"): (0.60, 0.80),
    (SEEN, "error AUROC"): (0.85, 0.92),
    (SEEN, "ECE"): (0.05, 0.03),
} | {
    (f"{BY_HAND}, {language}", measure): demand
    for language in ("en", "fr")
    for measure, demand in (("error AUROC", (0.85, 0.92)), ("ECE", (0.05, 0.03)))
}


class Answer(msgspec.Struct, frozen=True):
    """What a model made of a case."""

    call: Call
    confidence: float
    joint: float
    seconds: float


async def answers(
    engine: Engine, adapter: str | None, cases: Sequence[Case], shots: Sequence[Turn] = (), at_once: int = 8
) -> list[Answer]:
    """What a model calls. `shots` are turns it reads before each case."""
    room = asyncio.Semaphore(at_once)

    async def one(case: Case) -> Answer:
        prompt = call_prompt(
            case.offers, Request(text=case.text, today=case.today), adapter, may_refuse=case.may_refuse
        )
        prompt = msgspec.structs.replace(prompt, turns=(prompt.turns[0], *shots, *prompt.turns[1:]))
        async with room:
            began = time.perf_counter()
            completion = await complete(engine, prompt)
        try:
            call = parse_call(case.offers, completion.text, may_refuse=case.may_refuse)
        except msgspec.DecodeError:  # cut short
            call = ("", {})
        return Answer(call, completion.confidence or 0.0, completion.joint or 0.0, time.perf_counter() - began)

    return list(await asyncio.gather(*(one(case) for case in cases)))


def some(cases: Sequence[Case], count: int) -> list[Case]:
    """So many cases of each set, the first."""
    parts: dict[str, list[Case]] = {}
    for case in cases:
        parts.setdefault(case.data, []).append(case)
    return [case for own in parts.values() for case in own[:count]]


def shots(folder: Path, seed: int, count: int = 3) -> list[Turn]:
    """Examples for a model that was not trained: tools and request in one turn, the call in the next."""
    return [
        turn
        for lesson in sgd.lessons(40, seed, folder)[:count]
        for turn in (
            Turn("user", f"{lesson.turns[0].content}\n{lesson.turns[1].content}"),
            Turn("assistant", lesson.call),
        )
    ]


def usual(cases: Sequence[Case]) -> list[Answer]:
    """The first tool, and nothing said: what is most frequent in the sets."""
    return [Answer((case.offers[0].name, {}), 1.0, 1.0, 0.0) for case in cases]


def rows(cases: Sequence[Case], made: Sequence[Answer], arm: str, seed: int) -> list[Row]:
    """The figures of one arm, by data set."""
    found: list[Row] = []
    parts: dict[str, list[tuple[Case, Answer]]] = {}
    for case, answer in zip(cases, made, strict=True):
        parts.setdefault(case.data, []).append((case, answer))
        if case.part and arm == TRAINED:
            parts.setdefault(f"{BY_HAND}, {case.part}", []).append((case, answer))
    for data, own in parts.items():
        groups = [case.group for case, _ in own]
        right = [case.right(answer.call) for case, answer in own]
        figures = {"call exact": measures.mean([float(each) for each in right], groups, seed)}
        if slots := [case.slots(answer.call) for case, answer in own if case.slots]:
            hits, wholes = [2.0 * hit for hit, _, _ in slots], [float(said + true) for _, said, true in slots]
            figures["slot F1"] = measures.ratio(hits, wholes, groups, seed)
        if arm == TRAINED:
            figures |= _confidence([answer.confidence for _, answer in own], right, seed)
        for measure, figure in figures.items():
            must, aim = DEMANDS.get((data, measure), (None, None)) if arm == TRAINED else (None, None)
            less = measure == "ECE"
            found.append(
                Row(
                    task="specialist", data=data, arm=arm, measure=measure, figure=figure, must=must, aim=aim, less=less
                )
            )
    return found


def wrong(cases: Sequence[Case], made: Sequence[Answer]) -> list[dict[str, Any]]:
    """What was answered wrong, beside what is right: to be read."""
    return [
        {"data": case.data, "text": case.text, "wanted": case.wanted, "said": answer.call, "sure": answer.confidence}
        for case, answer in zip(cases, made, strict=True)
        if not case.right(answer.call)
    ]


def latency(made: Sequence[Answer], arm: str, seed: int) -> Row:
    """How long one call takes of a warm model that has nothing else to do."""
    figure = measures.percentile([answer.seconds for answer in made], 50, seed)
    row = Row(task="specialist", data="one call, warm", arm=arm, measure="seconds, p50", figure=figure, less=True)
    return msgspec.structs.replace(row, must=1.2, aim=0.5) if arm == TRAINED else row


def _confidence(confidence: Sequence[float], right: Sequence[bool], seed: int) -> dict[str, Figure]:
    """How well confidence tells right from wrong, and how far it is from the share that is right."""
    pairs = list(zip(confidence, right, strict=True))
    figures = {"ECE": measures.drawn(measures.calibration_error, pairs, seed)}
    if len(set(right)) == 2:
        figures["error AUROC"] = measures.drawn(measures.auroc, pairs, seed)
    return figures
