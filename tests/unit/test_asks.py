"""Requests joined of asks: who is needed is whoever was asked, and nothing that is tested on is learned from."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier.actors.learning.asks import Asks
from metier.actors.learning.examples import Slots, Team
from metier.topics.errors import InvalidTeam

TRADES = ("fly", "sleep", "eat", "see")


def team() -> Team:
    slots = Slots(tool="tool", arguments={}, needed=[])
    return Team(
        specialists=dict.fromkeys(TRADES, slots),
        split=[],
        never=["Never say this"],
        others=["plan"],
        wholes={"trip": ["fly", "sleep", "plan"]},
    )


def asks(language: str = "en") -> dict[str, list[str]]:
    names = (*TRADES, "plan", "trip", "open", "chatter")
    return {name: [f"{language}{name}{number}" for number in range(50)] for name in names}


def made(part: str = "train", count: int = 400) -> list[tuple[str, tuple[str, ...], bool]]:
    book = Asks(team(), {"en": asks("en"), "fr": asks("fr")})
    return [(each.text.lower(), each.labels, each.open) for each in book.requests(count, part, 3)]  # type: ignore[arg-type]


def test_a_request_needs_exactly_whom_it_asks() -> None:
    for text, labels, is_open in made():
        if is_open:
            assert () == labels
            assert "open" in text
        elif "trip" in text:
            assert ("fly", "sleep", "plan") == labels
        else:
            assert {name for name in (*TRADES, "plan") if name in text} == set(labels)


def test_requests_of_every_kind_are_made_once_each() -> None:
    texts = [text for text, _, _ in made()]
    sizes = {len(labels) for _, labels, _ in made()}

    assert len(texts) == len(set(texts)) == 400
    assert {0, 1, 2, 3, 4} <= sizes


def test_the_same_seed_makes_the_same_requests() -> None:
    assert made() == made()


def test_no_ask_is_in_two_parts() -> None:
    known = {f"{language}{name}{number}" for language in ("en", "fr") for name in TRADES for number in range(50)}
    train, dev, test = (
        {word for text, _, _ in made(part) for word in text.replace("\n", " ").split() if word in known}
        for part in ("train", "dev", "test")
    )

    assert train
    assert dev
    assert test
    assert not train & dev
    assert not train & test
    assert not dev & test


def test_a_request_of_the_acceptance_test_is_never_made() -> None:
    book = Asks(team(), {"en": {**asks(), "open": ["never say THIS!"] * 3}, "fr": asks("fr")})

    assert not [each for each in book.requests(200, "train", 1) if "never" in each.text.lower()]


def test_a_name_that_is_no_specialist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "asks.en.yaml").write_text("swim: [let me swim]\n")

    with pytest.raises(InvalidTeam, match=r"asks\.en\.yaml.*'swim' is no specialist"):
        Asks.read(tmp_path, team())


def test_a_team_without_asks_makes_no_requests(tmp_path: Path) -> None:
    assert [] == Asks.read(tmp_path, team()).requests(10, "train", 1)
