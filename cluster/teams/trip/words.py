"""Tags behind the words people use for sights and cuisines."""

from __future__ import annotations

from functools import cache
from typing import Literal

import msgspec

from metier.actors.tools.numerals import plain

from .records import read


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One tag and what people call it."""

    kind: Literal["theme", "cuisine"]
    tag: str
    words: tuple[str, ...]


def tag_of(kind: Literal["theme", "cuisine"], said: str) -> str | None:
    """The tag a phrase names: the longest known run of its words, the first of equals. None if it names none."""
    words = plain(said).split()
    table = _table(kind)
    for length in range(len(words), 0, -1):
        for start in range(len(words) - length + 1):
            if tag := table.get(" ".join(words[start : start + length])):
                return tag
    return None


@cache
def _table(kind: str) -> dict[str, str]:
    return {word: entry.tag for entry in read("words", Word) if entry.kind == kind for word in entry.words}
