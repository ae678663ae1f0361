"""Requests made of asks: sentences written by hand that each need one specialist, joined as people join them.

A team's `training` folder has them in `asks.{language}.yaml`: lists under the specialists' names; under `open`, what no
specialist can serve; under `chatter`, what asks for nothing but speaks of what they do; and under the names that
`slots.yaml` lists as `wholes`, requests that need several.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from metier.topics.errors import InvalidTeam

from .examples import OPEN, Example, Team, bare
from .phrases import Split

CHATTER = "chatter"

#: How many asks a request joins, by weight; a whole request, an open one.
KINDS = {"1": 0.22, "2": 0.27, "3": 0.17, "4": 0.04, "whole": 0.12, OPEN: 0.18}

_JOINTS = {
    "en": (
        ". ",
        ". ",
        ". ",
        ", ",
        ", ",
        "; ",
        " and ",
        ", and ",
        " + ",
        "\n",
        " also ",
        ". Also, ",
        " then ",
        " - ",
        "? ",
    ),
    "fr": (
        ". ",
        ". ",
        ". ",
        ", ",
        ", ",
        " ; ",
        " et ",
        ", et ",
        " + ",
        "\n",
        " aussi ",
        ". Et ",
        " puis ",
        " - ",
        " ? ",
    ),
}
_CHATTER = 0.28
_PLAN = 0.16
_LOWER_CASE = 0.2
#: Of the asks, those for choosing and for testing.
_DEV, _TEST = 0.06, 0.04


class Asks:
    """A team's asks in all its languages. Raises InvalidTeam for a name it does not know."""

    def __init__(self, team: Team, asks: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        self._team = team
        self._asks = asks
        self._parts = {
            (language, name): _parts(list_) for language, lists in asks.items() for name, list_ in lists.items()
        }
        self._trades, self._plans = tuple(team.specialists), tuple(team.others)
        self._wholes = team.wholes
        self._never = {bare(text) for text in team.never}
        known = {*self._trades, *self._plans, *self._wholes, OPEN, CHATTER}
        for language, lists in asks.items():
            if unknown := lists.keys() - known:
                raise InvalidTeam(path=f"asks.{language}.yaml", reason=f"{min(unknown)!r} is no specialist")

    @classmethod
    def read(cls, folder: Path, team: Team) -> Asks:
        """Those of a `training` folder; none if it has no such files. Raises InvalidTeam."""
        try:
            asks = {
                path.name.split(".")[1]: msgspec.yaml.decode(path.read_bytes(), type=dict[str, list[str]])
                for path in sorted(folder.glob("asks.*.yaml"))
            }
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidTeam(path=str(folder), reason=str(error)) from error
        return cls(team, asks)

    def with_english(self, more: Mapping[str, Sequence[str]]) -> Asks:
        """The same with more English ones, by specialist."""
        english = self._asks.get("en", {})
        joined = {**english, **{name: [*english.get(name, ()), *asks] for name, asks in more.items()}}
        return Asks(self._team, {**self._asks, "en": joined})

    def examples(self, each: int) -> dict[str, tuple[str, ...]]:
        """Some asks for each specialist, as a team without trained heads would write them."""
        names = (*self._trades, *self._plans)
        lists = {name: [self._parts[language, name]["train"][:each] for language in self._asks] for name in names}
        return {name: tuple(ask for some in found for ask in some) for name, found in lists.items()}

    def requests(self, count: int, split: Split, seed: int, french: float = 0.5) -> list[Example]:
        """Requests without repetition, fewer where the asks do not make so many."""
        rng = random.Random(f"{seed}/asks/{split}")
        found: dict[str, Example] = {}
        for _ in range(count * 5 * bool(self._asks)):
            language = "fr" if rng.random() < french else "en"
            example = self._request(language, split, rng)
            if bare(example.text) not in self._never:
                found.setdefault(example.text, example)
            if len(found) == count:
                break
        return list(found.values())

    def _request(self, language: str, split: Split, rng: random.Random) -> Example:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == OPEN:
            return self._made([self._drawn(language, OPEN, split, rng)], (), language, rng, is_open=True)
        if kind == "whole":
            whole = rng.choice(list(self._wholes))
            return self._made([self._drawn(language, whole, split, rng)], self._wholes[whole], language, rng)
        chosen = rng.sample(self._trades, int(kind))
        parts = [self._drawn(language, name, split, rng) for name in chosen]
        if len(parts) > 1 and self._plans and rng.random() < _PLAN:
            plan = rng.choice(self._plans)
            chosen.append(plan)
            parts.insert(rng.choice((0, len(parts))), self._drawn(language, plan, split, rng))
        if rng.random() < _CHATTER:
            parts.insert(rng.randint(0, len(parts)), self._drawn(language, CHATTER, split, rng))
        return self._made(parts, chosen, language, rng)

    def _made(
        self, parts: Sequence[str], needed: Sequence[str], language: str, rng: random.Random, *, is_open: bool = False
    ) -> Example:
        text = parts[0]
        for part in parts[1:]:
            joint = rng.choice(_JOINTS[language])
            ends = joint[0] in ".;,?\n" or joint[:2] in (" ;", " ?")
            stripped = text.rstrip(" .,;?!") if ends and not text.endswith("?") else text.rstrip(" .,;")
            text = stripped + joint + (part if joint[0] in ".?\n" else part[0].lower() + part[1:])
        if rng.random() < _LOWER_CASE:
            text = text.lower()
        labels = tuple(name for name in (*self._trades, *self._plans) if name in needed)
        return Example(text=text, labels=labels, open=is_open, language=language, source="asks")

    def _drawn(self, language: str, name: str, split: Split, rng: random.Random) -> str:
        return rng.choice(self._parts[language, name][split])


def _parts(asks: Sequence[str]) -> dict[Split, list[str]]:
    """The asks of each split: their order is that of their hashes, so that more asks move few of them."""
    ordered = sorted(asks, key=lambda ask: hashlib.sha256(ask.encode()).digest())
    dev = max(1, round(len(ordered) * _DEV))
    test = dev + max(1, round(len(ordered) * _TEST))
    return {"dev": ordered[:dev], "test": ordered[dev:test], "train": ordered[test:]}
