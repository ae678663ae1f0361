"""Sets of dialogues that a router is tested on: what was said, and which domains it is about.

X-RiSAWOZ (Moradshahi et al. 2023, arXiv 2306.17674) has the same turns in French and in English. Of the Schema-Guided
Dialogue set (Rastogi et al., arXiv 1909.05855) the dialogues over several services are read as one request each.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from .. import files

#: Domains, and the specialist of a trip team that serves them.
SERVED = {
    "Attraction": "guide",
    "Travel": "guide",
    "Hotel": "hotels",
    "Hotels": "hotels",
    "Restaurant": "restaurants",
    "Restaurants": "restaurants",
    "Weather": "weather",
    "Flight": "flights",
    "Flights": "flights",
    "Calendar": "calendar",
}


class Parallel(msgspec.Struct, frozen=True):
    """A turn in both languages."""

    en: str = msgspec.field(name="text_en")
    fr: str = msgspec.field(name="text_fr")
    dialogue: str
    domains: list[str]

    @property
    def served(self) -> frozenset[str] | None:
        """Who serves all it is about; None if somebody is lacking."""
        return frozenset(SERVED[name] for name in self.domains) if SERVED.keys() >= set(self.domains) else None


class _Node(msgspec.Struct, frozen=True):
    service: str


class Joined(msgspec.Struct, frozen=True):
    """What a user said in one dialogue, joined, and the services that were called."""

    id: str
    text: str = msgspec.field(name="request_concat")
    nodes: list[_Node]

    @property
    def served(self) -> frozenset[str]:
        """Those of a trip team who are needed; nobody of it serves the other services."""
        domains = {node.service.partition("_")[0] for node in self.nodes}
        return frozenset(SERVED[domain] for domain in domains if domain in SERVED)


def parallel(folder: Path) -> list[Parallel]:
    """The turns of X-RiSAWOZ that a trip team serves. Raises InvalidInput."""
    return [turn for turn in files.lines(folder / "turns.jsonl", Parallel, "dialogues") if turn.served]


def joined(folder: Path, part: str) -> list[Joined]:
    """The dialogues of a part that need somebody of a trip team. Raises InvalidInput."""
    return [each for each in files.lines(folder / f"{part}.jsonl", Joined, "dialogues") if each.served]
