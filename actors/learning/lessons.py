"""Lessons: one prompt, as serving makes it, and the call it should bring."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ..engines.base import Turn
from ..prompts import call_prompt, call_text
from ..tools.base import Request
from ..tools.function import load_function
from . import spoken
from .examples import Example, Phrasebook, Team, generate

#: Of the requests: asks for one specialist, for two, whole trips.
WEIGHTS = {"1": 0.62, "2": 0.1, "3+": 0.28}

#: What an argument is for, behind it in its signature (`tools/schema.py`).
_MEANING = re.compile(r" \([^()]*\)(?=[,)])")


class Lesson(msgspec.Struct, frozen=True):
    """One prompt and the call it should bring."""

    specialist: str
    turns: tuple[Turn, ...]
    call: str

    def untold(self) -> Lesson:
        """The same of tools that do not tell what their arguments are for."""
        first, *rest = self.turns
        bare = msgspec.structs.replace(first, content=_MEANING.sub("", first.content))
        return msgspec.structs.replace(self, turns=(bare, *rest))


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


def of_team(team: Path, count: int, seed: int, times: int = 1) -> list[Lesson]:
    """Lessons of a team's own: `count` of its sentences, and each call that was written by hand so many times."""
    book = Phrasebook.read(team / "training")
    made = lessons(book.team, generate(book, count, "train", seed, WEIGHTS), count, seed)
    for each in spoken.read(team / "training"):
        if each.split == "train":
            example = each.example(book.team)
            made += [lesson(book.team, example, name) for name in example.calls] * times
    random.Random(f"{seed}/taught").shuffle(made)
    return made


def made_by(source: str, count: int, seed: int, data: Path | None, team: Path | None) -> list[Lesson]:
    """What a function `(count, seed, [data], [the team's training])` at "module:name" makes. Raises InvalidTeam."""
    given = (*([data] if data else []), *([team / "training"] if team else []))
    made: list[Lesson] = load_function(source)(count, seed, *given)
    return made
