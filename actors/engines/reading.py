"""Tools and a request as an encoder reads them, and where a value stands in what is read.

The tools are those of the prompt, one signature a line (`Offer.brief`); the request is the asker's words. A value is a
run of those words, or one of the choices that a signature shows.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from ..tools.base import spans
from ..tools.numerals import candidates
from .base import Turn

_NAME = re.compile(r"[^\s(]+(?=\()")
_OPEN, _CLOSED = "([{", ")]}"
#: Numbers are said in so many words at most.
_NUMBER_WORDS = 5


class Slot(msgspec.Struct, frozen=True):
    """An argument in a signature: characters of its name, and of the hint behind it."""

    name: str
    start: int
    end: int
    #: Where the hint ends.
    until: int


class Signature(msgspec.Struct, frozen=True):
    """A tool: where its name begins, and its arguments."""

    name: str
    start: int
    slots: tuple[Slot, ...]


class Place(msgspec.Struct, frozen=True):
    """A run of characters, of the request or of the signatures."""

    start: int
    end: int
    of_text: bool = True

    def overlaps(self, other: Place) -> bool:
        """Whether two runs of the same side share a character."""
        return self.of_text is other.of_text and self.start < other.end and other.start < self.end


#: Where nothing stands.
NOTHING = Place(0, 0)


class Reading(msgspec.Struct, frozen=True):
    """Signatures and request, side by side."""

    about: str
    text: str
    tools: tuple[Signature, ...]


def read(turns: Sequence[Turn]) -> Reading:
    """The first turn as signatures, the last as the request. Raises ValueError if the first shows no tool."""
    about, tools, start = turns[0].content, list[Signature](), 0
    for line in about.splitlines(keepends=True):
        if match := _NAME.match(line):
            tools.append(Signature(match[0], start, tuple(_slots(about, start + match.end() + 1))))
        start += len(line)
    if not tools:
        raise ValueError("the prompt offers no tool")
    # Words of a name are read as words; every character keeps its place.
    return Reading(about.replace("_", " "), turns[-1].content, tuple(tools))


def _slots(about: str, start: int) -> list[Slot]:
    """The arguments of the signature whose parenthesis ends before `start`."""
    found: list[Slot] = []
    depth, begun = 1, start
    for at in range(start, len(about)):
        depth += (about[at] in _OPEN) - (about[at] in _CLOSED)
        if about[at] == "\n":
            break
        if depth == 0 or (depth == 1 and about[at] == "," and about[at + 1 : at + 2] == " "):
            name = re.split(r"[?:]| \(", about[begun:at], maxsplit=1)[0]
            if name:
                found.append(Slot(name, begun, begun + len(name), at))
            begun = at + 2
        if depth == 0:
            break
    return found


def places(reading: Reading, slot: Slot, value: Any) -> list[Place]:
    """Where a value of an argument stands: among the choices of its hint, else in the request; several places for a
    value that is said more than once, none for one that is not said. Nothing, None, stands before everything."""
    if value is None:
        return [NOTHING]
    words = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    if (at := _choice(words.replace("_", " "), reading.about[slot.end : slot.until])) is not None:
        return [Place(slot.end + at, slot.end + at + len(words), of_text=False)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return [Place(*place) for place in _numbers(reading.text).get(value, ())]
    return [Place(*place) for place in _found(words, reading.text)]


def mentions(reading: Reading, value: Any) -> list[Place]:
    """Where the request says a choice; none where it says it in words of its own."""
    if not isinstance(value, str):
        return []
    found = _numbers(reading.text).get(int(value), ()) if value.isdecimal() else ()
    return [Place(*place) for place in found or _found(value, reading.text)]


def _choice(words: str, hint: str) -> int | None:
    """Where a choice begins in a hint such as ": half|full" or ": [red|blue]"."""
    at = hint.find(words)
    while at >= 0:
        if hint[:at].endswith((": ", "|", "[")) and hint[at + len(words) :][:1] in ("", "|", "]"):
            return at
        at = hint.find(words, at + 1)
    return None


@functools.lru_cache(maxsize=4096)
def _found(words: str, text: str) -> tuple[tuple[int, int], ...]:
    """Where words stand in a text, not inside others."""
    found: list[tuple[int, int]] = []
    at = text.find(words) if words else -1
    while at >= 0:
        end = at + len(words)
        inside = _joined(text[at - 1 : at], words[0]) or _joined(text[end : end + 1], words[-1])
        if not inside:
            found.append((at, end))
        at = text.find(words, at + 1 if inside else end)
    return tuple(found)


def _joined(outer: str, inner: str) -> bool:
    """Whether the letter outside belongs to the word that the letter inside ends."""
    return inner.isalnum() and (outer.isalnum() or outer == "_")


@functools.lru_cache(maxsize=64)
def _numbers(text: str) -> dict[int | float, tuple[tuple[int, int], ...]]:
    """Where each number of a text is said: the shortest run of words that means it alone, or it among others."""
    alone: dict[int | float, str] = {}
    among: dict[int | float, str] = {}
    for words in sorted(spans(text, _NUMBER_WORDS), key=len):
        meant = candidates(words)
        for value in meant:
            (alone if len(meant) == 1 else among).setdefault(value, words)
    return {value: _found(words, text) for value, words in (among | alone).items()}
