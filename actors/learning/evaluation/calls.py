"""How often a model calls right: the tool, and every value, on what was set apart.

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

from ...engines.base import Engine, Turn, complete
from ...prompts import call_prompt, parse_call
from ...tools.base import Offer, Request
from ...tools.schema import Described
from ..sets import bfcl, sgd

#: A tool and the words that fill it; None if no tool was called.
Call = tuple[str, Mapping[str, Any]] | None

#: Of the Schema-Guided Dialogue set.
SEEN, UNSEEN = "sgd/test_seen", "sgd/test, unseen services"


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One request with the tools on offer, and what is right."""

    data: str
    #: Cases that are not independent of each other have the same.
    group: str
    text: str
    offers: list[Offer]
    today: dt.date
    right: Callable[[Call], bool]
    #: Values right, said, and to be said.
    slots: Callable[[Call], tuple[int, int, int]] | None = None
    #: What a call becomes before it is compared: words understood as the schema's values.
    tool: Callable[[Call], Call] = lambda call: call


class Answer(msgspec.Struct, frozen=True):
    """What a model made of a case."""

    call: Call
    confidence: float
    seconds: float


def dialogues(folder: Path, count: int, seed: int) -> list[Case]:
    """Turns that say values, of services seen in training and of others; so many of each."""
    services = sgd.tools(folder)
    seen = {turn.service for turn in sgd.read(folder, "train")}
    made: list[Case] = []
    for data, part, wanted in ((SEEN, "test_seen", True), (UNSEEN, "test", False)):
        turns = [turn for turn in sgd.read(folder, part) if turn.call.args and (turn.service in seen) == wanted]
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

    def understood(call: Call) -> Call:
        return call and (call[0], tools[call[0]].understand(call[1], request))

    return Case(
        data=f"bfcl/{case.category}",
        group=case.id,
        text=case.text,
        offers=[tool.offer(request) for tool in tools.values()],
        today=today,
        right=lambda call: bfcl.right(case, (call[0], dict(call[1])) if call else None),
        tool=understood,
    )


async def answers(
    engine: Engine, adapter: str | None, cases: Sequence[Case], shots: Sequence[Turn] = ()
) -> list[Answer]:
    """What a model calls, eight cases at a time. `shots` are turns it reads before each."""
    room = asyncio.Semaphore(8)

    async def one(case: Case) -> Answer:
        prompt = call_prompt(case.offers, Request(text=case.text, today=case.today), adapter, may_refuse=True)
        prompt = msgspec.structs.replace(prompt, turns=(prompt.turns[0], *shots, *prompt.turns[1:]))
        async with room:
            began = time.perf_counter()
            completion = await complete(engine, prompt)
        try:
            call = parse_call(case.offers, completion.text, may_refuse=True)
        except msgspec.DecodeError:  # cut short
            call = ("", {})
        return Answer(call, completion.confidence or 0.0, time.perf_counter() - began)

    return list(await asyncio.gather(*(one(case) for case in cases)))
