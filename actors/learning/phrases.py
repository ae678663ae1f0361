"""Sentences made from an annotated grammar: text, and where in it each value was said.

A rule is a list of alternatives. In an alternative

    {rule}              is replaced by one of the rule's alternatives,
    (one|another|)      is replaced by one of those,
    [slot: words]       marks its words as what was said for the slot,
    [@name: words]      keeps the marks within for the specialist of that name.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from metier.topics.errors import InvalidValue

Split = Literal["train", "dev", "test"]


def split_of(text: str, dev: float) -> Split:
    """Where something belongs, by the hash of its text, so that more of its kind moves none: a share `dev` of all is
    kept from training, for choosing."""
    place = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) / 2**32
    return "dev" if place < dev else "train"


#: Of every eight alternatives that are split, one is kept for dev and one for test.
_FOLD = 8


class Mark(msgspec.Struct, frozen=True):
    """Where a slot's words stand in a sentence."""

    slot: str
    start: int
    end: int
    #: The specialist it is for; empty: for all.
    scope: str = ""


class Sentence(msgspec.Struct, frozen=True):
    """A text and its marks."""

    text: str
    marks: tuple[Mark, ...] = ()

    def said(self, slots: Sequence[str], scope: str) -> str | None:
        """The words of the first of these slots that is said for a specialist."""
        for slot in slots:
            for mark in self.marks:
                if mark.slot == slot and mark.scope in ("", scope):
                    return self.text[mark.start : mark.end]
        return None

    def __add__(self, other: Sentence) -> Sentence:
        size = len(self.text)
        moved = (Mark(mark.slot, mark.start + size, mark.end + size, mark.scope) for mark in other.marks)
        return Sentence(self.text + other.text, (*self.marks, *moved))

    def scoped(self, scope: str) -> Sentence:
        """The same with its free marks kept for one specialist."""
        kept = (mark if mark.scope else Mark(mark.slot, mark.start, mark.end, scope) for mark in self.marks)
        return Sentence(self.text, tuple(kept))

    def rewritten(self, text: str) -> Sentence:
        """The same marks on a text of the same length."""
        if len(text) != len(self.text):
            raise InvalidValue(value=text, kind="rewriting", reason="its length differs, so the marks would be wrong")
        return Sentence(text, self.marks)


class Grammar:
    """Rules of one language. Those named in `split` share no alternative between train, dev and test."""

    def __init__(self, rules: Mapping[str, Sequence[str]], split: frozenset[str] = frozenset()) -> None:
        self._rules = rules
        self._split = split

    def draw(self, rule: str, split: Split, rng: random.Random) -> Sentence:
        """One sentence of a rule. Raises InvalidValue for a rule that is not there, or has nothing in this split."""
        alternatives = list(self._rules.get(rule, ()))
        if rule in self._split:
            alternatives = part(alternatives, split)
        if not alternatives:
            raise InvalidValue(value=rule, kind="rule", reason=f"it has no alternative for {split}")
        return self.expand(rng.choice(alternatives), split, rng)

    def expand(self, template: str, split: Split, rng: random.Random) -> Sentence:
        """One sentence of a template."""
        reader = _Reader(template)
        sentence = self._sequence(reader, "", split, rng)
        if not reader.done:
            raise InvalidValue(value=template, kind="template", reason=f"unexpected {reader.peek()!r}")
        return sentence

    def _sequence(self, reader: _Reader, ends: str, split: Split, rng: random.Random) -> Sentence:
        made = Sentence("")
        while not reader.done and reader.peek() not in ends:
            made += self._piece(reader, split, rng)
        return made

    def _piece(self, reader: _Reader, split: Split, rng: random.Random) -> Sentence:
        match reader.peek():
            case "{":
                return self.draw(reader.until("{", "}"), split, rng)
            case "(":
                return self._choice(reader, split, rng)
            case "[":
                return self._marked(reader, split, rng)
            case _:
                return Sentence(reader.plain())

    def _choice(self, reader: _Reader, split: Split, rng: random.Random) -> Sentence:
        reader.take("(")
        made = [self._sequence(reader, "|)", split, rng)]
        while reader.peek() == "|":
            reader.take("|")
            made.append(self._sequence(reader, "|)", split, rng))
        reader.take(")")
        return rng.choice(made)

    def _marked(self, reader: _Reader, split: Split, rng: random.Random) -> Sentence:
        name = reader.until("[", ":").strip()
        if reader.peek() == " ":
            reader.take(" ")
        body = self._sequence(reader, "]", split, rng)
        reader.take("]")
        if name.startswith("@"):
            return body.scoped(name[1:])
        return Sentence(body.text, (Mark(name, 0, len(body.text)), *body.marks))


class _Reader:
    """A template and how far it is read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._text)

    def peek(self) -> str:
        if self.done:
            raise InvalidValue(value=self._text, kind="template", reason="a bracket is not closed")
        return self._text[self._at]

    def take(self, expected: str) -> None:
        if self.peek() != expected:
            raise InvalidValue(value=self._text, kind="template", reason=f"{expected!r} is missing")
        self._at += 1

    def until(self, opening: str, closing: str) -> str:
        self.take(opening)
        end = self._text.find(closing, self._at)
        if end < 0:
            raise InvalidValue(value=self._text, kind="template", reason=f"{closing!r} is missing")
        found = self._text[self._at : end]
        self._at = end + 1
        return found

    def plain(self) -> str:
        start = self._at
        while not self.done and self._text[self._at] not in "{}()[]|":
            self._at += 1
        if self._at == start:
            raise InvalidValue(value=self._text, kind="template", reason=f"{self._text[start]!r} is out of place")
        return self._text[start : self._at]


def part(alternatives: Sequence[str], split: Split) -> list[str]:
    """The alternatives of one split, by their place in the list."""
    return [item for item, where in _places(alternatives) if where == split]


def _places(alternatives: Sequence[str]) -> Iterator[tuple[str, Split]]:
    for number, item in enumerate(alternatives):
        fold = number % _FOLD
        yield item, "dev" if fold == _FOLD - 3 else "test" if fold == _FOLD - 1 else "train"
