"""How often a model calls right, the tool and every value, on what was set apart.

Decoding is that of serving: the same engine, the same grammar.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from metier.topics.errors import InvalidValue

from ...engines.base import Engine, Turn, complete
from ...prompts import call_prompt, parse_call
from ...tools.base import Missing, Offer, Request, Tool
from ...tools.function import FunctionTool
from ...tools.schema import Described
from .. import measures
from ..measures import Figure
from ..sets import bfcl, sgd
from ..spoken import Spoken
from .report import TRAINED, Row

#: A tool and the words that fill it; None if no tool was called.
Call = tuple[str, Mapping[str, Any]] | None

BY_HAND = "by hand"
SEEN, UNSEEN = "sgd/test_seen", "sgd/test, unseen services"
PARTS = {SEEN: "test_seen", UNSEEN: "test"}
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


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One request with the tools on offer, and what is right."""

    data: str
    #: The specialist, where the set has several.
    part: str = ""
    #: Cases that are not independent of each other have the same.
    group: str
    text: str
    offers: list[Offer]
    today: dt.date
    right: Callable[[Call], bool]
    #: What is right, for people.
    wanted: Any = None
    #: Whether the model may call no tool.
    may_refuse: bool = True
    #: Values right, said, and to be said.
    slots: Callable[[Call], tuple[int, int, int]] | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a model made of a case."""

    call: Call
    confidence: float
    joint: float
    seconds: float


def by_hand(requests: Sequence[Spoken], tools: Mapping[str, Sequence[Tool]], today: dt.date) -> list[Case]:
    """Calls of a team's own specialists, by the language and the specialist."""
    return [
        _spoken(request, name, tools[name], today, str(place))
        for place, request in enumerate(requests)
        for name in request.calls
    ]


def _spoken(spoken: Spoken, name: str, tools: Sequence[Tool], today: dt.date, group: str) -> Case:
    request = Request(text=spoken.text, today=today)
    accepted = spoken.accepted(name)

    def right(call: Call) -> bool:
        said = {key: value for key, value in (call[1] if call else {}).items() if value is not None}
        return said.keys() == accepted.keys() and all(
            _means(tools[0], key, said[key], accepted[key], request) for key in said
        )

    def slots(call: Call) -> tuple[int, int, int]:
        said = {key: value for key, value in (call[1] if call else {}).items() if value is not None}
        hits = sum(_means(tools[0], key, value, accepted.get(key, []), request) for key, value in said.items())
        return hits, len(said), len(accepted)

    return Case(
        data=f"{BY_HAND}, {spoken.language}",
        part=name,
        group=group,
        text=spoken.text,
        offers=[offer for tool in tools if (offer := tool.offer(request))],
        today=today,
        right=right,
        wanted=accepted,
        may_refuse=False,
        slots=slots,
    )


def _means(tool: Tool, name: str, said: str, accepted: Sequence[str], request: Request) -> bool:
    """Whether words are among the accepted, or are understood as the same value as one of them."""
    if said.casefold() in {value.casefold() for value in accepted}:
        return True
    return isinstance(tool, FunctionTool) and any(tool.same(name, said, value, request) for value in accepted)


def dialogues(folder: Path, count: int, seed: int, parts: Mapping[str, str] = PARTS) -> list[Case]:
    """Turns that say values; of the part `test` those of services that training has not. So many of each part."""
    services = sgd.tools(folder)
    seen = {turn.service for turn in sgd.read(folder, "train")}
    made: list[Case] = []
    for data, part in parts.items():
        turns = [
            turn for turn in sgd.read(folder, part) if turn.call.args and not (part == "test" and turn.service in seen)
        ]
        random.Random(f"{seed}/{data}").shuffle(turns)
        made += [_dialogue(data, services[turn.service], turn) for turn in turns[:count]]
    return made


def _dialogue(data: str, tools: Sequence[Described], turn: sgd.Turn) -> Case:
    def slots(call: Call) -> tuple[int, int, int]:
        said = {name: value for name, value in (call[1] if call else {}).items() if value is not None}
        hits = sum(sgd.same(turn, name, value) for name, value in said.items())
        return hits, len(said), len(turn.call.args)

    return Case(
        data=data,
        group=turn.dialogue,
        text=turn.text,
        offers=sgd.offers(tools, turn.text),
        today=sgd.TODAY,
        right=lambda call: sgd.right(turn, call),
        wanted=(turn.call.intent, turn.call.args),
        slots=slots,
    )


def functions(folder: Path, count: int, seed: int) -> list[Case]:
    """Functions never seen in training: one that fits, several of which one fits, none that fits."""
    made: list[Case] = []
    for category in ("simple_python", "multiple", "irrelevance"):
        cases = bfcl.read(folder, [category])
        random.Random(f"{seed}/{category}").shuffle(cases)
        made += [_function(case) for case in cases[:count]]
    return made


def _function(case: bfcl.Case) -> Case:
    today = dt.date(2026, 1, 1)
    tools = {
        each["name"]: Described(each["name"], bfcl.json_schema(each["parameters"]), each["description"])
        for each in case.functions
    }
    request = Request(text=case.text, today=today)

    def right(call: Call) -> bool:
        if call and call[0] not in tools:
            return False
        try:
            understood = call and (call[0], tools[call[0]].understand(call[1], request))
        except (Missing, InvalidValue):
            return False
        return bfcl.right(case, understood)

    return Case(
        data=f"bfcl/{case.category}",
        group=case.id,
        text=case.text,
        offers=[tool.offer(request) for tool in tools.values()],
        today=today,
        right=right,
        wanted=case.accepted,
    )


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
