"""Requests written by hand with the calls they ask for: every value a run of the request's own words.

A team has those it learns from in `training/calls.yaml`, and those it is tested on in `evaluation/calls.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from metier.topics.errors import InvalidTeam

from ..tools.base import spans
from . import files
from .examples import Call, Example, Team
from .phrases import Split, split_of

NAME = "calls.yaml"

#: Of the calls to learn from, those for choosing.
_DEV = 0.12

#: One run of words, or several that are as right.
Value = str | list[str]


class Spoken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request, and what each specialist it needs should make of it."""

    language: str
    text: str
    #: Values by argument, by specialist; what was not said is left out.
    calls: dict[str, dict[str, Value]]

    @property
    def split(self) -> Split:
        """Where one that is learned from belongs, by its hash: those for choosing are kept from training."""
        return split_of(self.text, _DEV)

    def accepted(self, name: str) -> dict[str, list[str]]:
        """The values that are right for one specialist, by argument."""
        return {key: [value] if isinstance(value, str) else value for key, value in self.calls[name].items()}

    def example(self, team: Team) -> Example:
        """As it is learned, the first of several values. Raises InvalidTeam for what nobody could copy."""
        allowed = set(spans(self.text))
        calls: dict[str, Call] = {}
        for name in self.calls:
            slots = team.specialists[name]
            said = {key: values[0] for key, values in self.accepted(name).items()}
            arguments: Mapping[str, str | None] = {
                key.rstrip("?"): said.pop(key.rstrip("?"), None) for key in slots.arguments
            }
            wrong = [words for words in arguments.values() if words is not None and words not in allowed]
            if said or wrong:
                raise InvalidTeam(
                    path=self.text, reason=f"{(*said, *wrong)[0]!r} is no argument or no run of its words"
                )
            calls[name] = Call(slots.tool, dict(arguments))
        return Example(text=self.text, labels=tuple(calls), calls=calls, language=self.language, source="by hand")

    def routed(self, team: Team) -> Example:
        """As a router learns it: who is called, and nothing of those who call no tool."""
        labels = tuple(name for name in team.specialists if name in self.calls)
        return Example(
            text=self.text, labels=labels, unsaid=tuple(team.others), language=self.language, source="by hand"
        )


def of(example: Example) -> Spoken:
    """An example as a request with its calls."""
    calls: dict[str, dict[str, Value]] = {
        name: {key: words for key, words in call.arguments.items() if words is not None}
        for name, call in example.calls.items()
    }
    return Spoken(language=example.language, text=example.text, calls=calls)


def read(folder: Path) -> list[Spoken]:
    """Those in a folder; none if it has no such file. Raises InvalidInput."""
    return files.entries(folder / NAME, Spoken)
