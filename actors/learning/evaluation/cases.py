"""What a model is asked to call, and what is right: requests written by hand, dialogues, functions."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from metier.topics.errors import InvalidValue

from ...tools.base import Missing, Offer, Request, Tool
from ...tools.function import FunctionTool
from ...tools.schema import Described
from ..sets import bfcl, sgd
from ..sets import functions as functions_
from ..spoken import Spoken

#: A tool and the words that fill it; None if no tool was called.
Call = tuple[str, Mapping[str, Any]] | None

BY_HAND = "by hand"
SEEN, UNSEEN = "sgd/test_seen", "sgd/test, unseen services"
PARTS = {SEEN: "test_seen", UNSEEN: "test"}


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


def kept(given: Sequence[functions_.Function]) -> list[Case]:
    """Functions written by hand that were kept from training: what they are for, and what they cannot do."""
    made: list[Case] = []
    for function in given:
        asked = [*function.requests, *(functions_.Asked(text, {}) for text in function.others)]
        for place, each in enumerate(asked):
            fits = place < len(function.requests)
            made.append(
                Case(
                    data=f"functions, {'fitting' if fits else 'not fitting'}",
                    group=function.name,
                    text=each.text,
                    offers=[function.tool.offer(Request(text=each.text, today=functions_.TODAY))],
                    today=functions_.TODAY,
                    right=partial(_as_asked, (function.name, each.arguments) if fits else None),
                    wanted=each.arguments,
                )
            )
    return made


def _as_asked(wanted: Call, call: Call) -> bool:
    if call is None or wanted is None:
        return call is wanted
    said = {name: value for name, value in call[1].items() if value is not None}
    return call[0] == wanted[0] and said == wanted[1]


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
