"""Lessons: one prompt, as serving makes it, and the call it should bring."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from collections.abc import Sequence

import msgspec

from ..engines.base import Turn
from ..prompts import call_prompt, call_text
from ..tools.base import Request
from .examples import Example, Team

#: Of the requests: asks for one specialist, for two, whole trips.
WEIGHTS = {"1": 0.62, "2": 0.1, "3+": 0.28}


class Lesson(msgspec.Struct, frozen=True):
    """One prompt and the call it should bring."""

    specialist: str
    turns: tuple[Turn, ...]
    call: str


def lessons(team: Team, examples: Sequence[Example], limit: int, seed: int) -> list[Lesson]:
    """Lessons of examples: of each request the two specialists that were taught least, so that requests vary more."""
    rng = random.Random(f"{seed}/lessons")
    taught: Counter[str] = Counter()
    made: list[Lesson] = []
    for example in examples:
        for name in sorted(example.calls, key=lambda name: (taught[name], rng.random()))[:2]:
            taught[name] += 1
            made.append(lesson(team, example, name))
    return made[:limit]


def lesson(team: Team, example: Example, name: str) -> Lesson:
    """What one specialist learns from an example."""
    offers = [team.specialists[name].offer(example.text)]
    prompt = call_prompt(offers, Request(text=example.text, today=dt.date.min), None)
    call = example.calls[name]
    return Lesson(name, prompt.turns, call_text(offers, (call.tool, call.arguments)))
