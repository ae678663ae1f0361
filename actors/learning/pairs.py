"""Requests written by hand, each in English and in French, and whom they need.

A team has those it learns from in `training/compounds.yaml`, and those it is tested on in `evaluation/compounds.yaml`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

from . import files
from .examples import Example
from .phrases import Split, split_of

NAME = "compounds.yaml"
#: Of the pairs to learn from, those for choosing.
_DEV = 0.1

_JOINTS = (" ", " ", "\n", " - ")

#: The specialists a request needs; None for an open one.
Plan = frozenset[str] | None


class Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same request in both languages, and whom it needs."""

    en: str
    fr: str
    specialists: tuple[str, ...]
    open: bool = False

    @property
    def plan(self) -> Plan:
        """What a router should make of it."""
        return None if self.open else frozenset(self.specialists)

    @property
    def examples(self) -> list[Example]:
        """One to learn from in each language."""
        texts = {"en": self.en, "fr": self.fr}
        return [
            Example(text=text, labels=self.specialists, open=self.open, language=language, source="pairs")
            for language, text in texts.items()
        ]

    @property
    def split(self) -> Split:
        """Where it belongs, by the hash of its English, so that more pairs move none of the others."""
        return split_of(self.en, _DEV)


def read(folder: Path) -> list[Pair]:
    """The pairs in a folder; none if it has no such file. Raises InvalidInput."""
    return files.entries(folder / NAME, Pair)


def examples(pairs: Sequence[Pair], split: Split) -> list[Example]:
    """Those of a split, in both languages."""
    return [example for pair in pairs if pair.split == split for example in pair.examples]


def joined(pairs: Sequence[Pair], split: Split, count: int, seed: int) -> list[Pair]:
    """Requests made of two of a split that need one or two specialists each."""
    rng = random.Random(f"{seed}/joined/{split}")
    parts = [pair for pair in pairs if pair.split == split and 0 < len(pair.specialists) < 3]
    made: list[Pair] = []
    while len(made) < count and len(parts) > 1:
        first, second = rng.sample(parts, 2)
        needed = tuple(dict.fromkeys(first.specialists + second.specialists))
        joint = rng.choice(_JOINTS)
        made.append(Pair(first.en + joint + second.en, first.fr + joint + second.fr, needed))
    return made
