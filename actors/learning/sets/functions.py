"""Functions written by hand with what people ask of them: lessons in calling tools that were never seen.

One function a line, as JSON: its name, description and parameters (JSON Schema), and requests with the arguments that
each says; texts are copied as they are said.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...prompts import call_prompt, call_text
from ...tools.base import Offer, Request
from ...tools.schema import Described
from .. import files
from ..lessons import Lesson
from ..phrases import Split, split_of
from . import sgd

NAME = "functions.jsonl"

#: Share of the lessons in which arguments have names alone, as those of many Python functions.
_UNTOLD = 0.2

#: Of the functions, those kept from training.
_DEV = 0.08

TODAY = dt.date(2026, 1, 1)


class Asked(msgspec.Struct, frozen=True):
    """A request, and the arguments it says."""

    text: str
    arguments: dict[str, Any]


class Function(msgspec.Struct, frozen=True):
    """A function, and what people ask of it."""

    name: str
    description: str
    parameters: dict[str, Any]
    requests: list[Asked]
    #: What people ask in nearly the same words, and it cannot do.
    others: list[str] = []

    @property
    def tool(self) -> Described:
        """As it is offered."""
        return Described(self.name, self.parameters, self.description)

    @property
    def split(self) -> Split:
        """Where it belongs, by the hash of its name: those for choosing and calibrating are kept from training."""
        return split_of(self.name, _DEV)


def read(folder: Path) -> list[Function]:
    """The functions of a folder; neighbours are of one field. Raises InvalidInput."""
    return files.lines(folder / NAME, Function, "functions")


def lessons(functions: Sequence[Function], seed: object) -> list[Lesson]:
    """Each function alone, among others, and offered for what it cannot do."""
    rng = random.Random(f"{seed}/functions")
    made: list[Lesson] = []
    for place, function in enumerate(functions):
        near = functions[(place + rng.choice((1, 2, 3))) % len(functions)]
        far, stranger = rng.sample([each for each in functions if each not in (function, near)], 2)
        alone = [(function, asked) for asked in function.requests]
        foreign = [(None, rng.choice(other.requests)) for other in (near, far, stranger)]
        foreign = rng.sample(foreign, rng.choice((2, 3)))
        foreign += [(None, Asked(text, {})) for text in rng.sample(function.others, min(2, len(function.others)))]
        made += _group([function], alone + foreign, f"{place}/alone")
        offered = rng.sample([function, near, far], 3)[: rng.choice((2, 3, 3))]
        among = [(each, rng.choice(each.requests)) for each in offered]
        made += _group(offered, [*among, (None, rng.choice(stranger.requests))], f"{place}/among")
    return made


def _group(offered: Sequence[Function], asked: Sequence[tuple[Function | None, Asked]], name: str) -> list[Lesson]:
    """Lessons that share what is offered."""
    tools = [function.tool for function in offered]
    made = (_lesson(tools, function, each, name) for function, each in asked)
    return [lesson for lesson in made if lesson is not None]


def _lesson(tools: Sequence[Described], function: Function | None, asked: Asked, name: str) -> Lesson | None:
    """None if the offer cannot say one of the arguments."""
    request = Request(text=asked.text, today=TODAY)
    offers = [tool.offer(request) for tool in tools]
    call = None
    if function is not None:
        tool = next(tool for tool in tools if tool.name == function.name)
        offer = next(offer for offer in offers if offer.name == function.name)
        call = (function.name, {key: asked.arguments.get(key) for key in tool.properties})
        if not sayable(offer, call[1]):
            return None
    prompt = call_prompt(offers, request, None, may_refuse=True)
    return Lesson(name, prompt.turns, call_text(offers, call, may_refuse=True))


def sayable(offer: Offer, arguments: dict[str, Any]) -> bool:
    """Whether an offer's schema allows some arguments."""
    return _fits(arguments, offer.schema)


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    if "anyOf" in schema:
        return any(_fits(value, part) for part in schema["anyOf"])
    if "enum" in schema:
        return any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in schema["enum"])
    if schema.get("type") == "null":
        return value is None
    if schema.get("type") == "array":
        return isinstance(value, list) and all(_fits(each, schema["items"]) for each in value)
    if schema.get("type") == "object":
        parts = schema["properties"]
        return isinstance(value, dict) and all(_fits(value.get(name), part) for name, part in parts.items())
    return isinstance(value, str | None)


def general(count: int, seed: int, data: Path, training: Path) -> list[Lesson]:
    """Lessons of the functions in `training`, and about as many of the Schema-Guided Dialogue set in `data`, `count` in
    all; in some, nothing tells what arguments are for."""
    rng = random.Random(f"{seed}/general")
    functions = [each for each in read(training) if each.split == "train"]
    made, draw = list[Lesson](), 0
    while len(made) < count / 2:
        made += lessons(functions, f"{seed}/{draw}")
        draw += 1
    made = made[: count // 2] + sgd.lessons(count - count // 2, seed, data)
    rng.shuffle(made)
    return [lesson.untold() if rng.random() < _UNTOLD else lesson for lesson in made]
