"""Calls written by hand."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from metier.actors.learning import pairs, spoken
from metier.actors.learning.evaluation import cases
from metier.actors.learning.examples import Phrasebook
from metier.actors.tools.function import FunctionTool
from metier.cluster.teams.trip.tools import forecast
from metier.topics.errors import InvalidInput, InvalidTeam

TRIP = Path(__file__).parents[2] / "cluster" / "teams" / "trip"


@pytest.mark.parametrize("folder", ["training", "evaluation"])
def test_every_value_can_be_copied(folder: str) -> None:
    book = Phrasebook.read(TRIP / "training")
    found = spoken.read(TRIP / folder)
    assert len(found) > 100
    for each in found:
        assert set(each.calls) == set(each.example(book.team).labels)


def test_what_is_tested_was_not_learned() -> None:
    learned, tested = (
        {each.text.casefold() for each in spoken.read(TRIP / part)} for part in ("training", "evaluation")
    )
    assert not learned & tested


def test_a_router_learns_whom_a_request_calls_and_nothing_of_who_has_no_tool_to_call() -> None:
    team = Phrasebook.read(TRIP / "training").team
    asked = spoken.Spoken("en", "Rain and rooms in Rome?", {"weather": {"city": "Rome"}, "hotels": {"city": "Rome"}})
    example = asked.routed(team)

    assert ("hotels", "weather") == example.labels
    assert ("secretary",) == example.unsaid


def test_what_tests_the_router_was_not_learned_with_its_calls() -> None:
    learned = {each.text.casefold() for each in spoken.read(TRIP / "training")}
    tested = {text.casefold() for pair in pairs.read(TRIP / "evaluation") for text in (pair.en, pair.fr)}

    assert not learned & tested


def test_a_value_that_nobody_said_is_refused() -> None:
    book = Phrasebook.read(TRIP / "training")
    wrong = spoken.Spoken("en", "Rain in Rome?", {"weather": {"city": "Paris"}})
    with pytest.raises(InvalidTeam, match="Paris"):
        wrong.example(book.team)


def test_a_call_is_right_if_it_is_said_or_understood_as_one_that_is() -> None:
    said = spoken.Spoken(
        "en", "Rain in Rome on the 3rd of May?", {"weather": {"city": "Rome", "day": "the 3rd of May"}}
    )
    tool = FunctionTool(forecast, {"travel": None})
    (case,) = cases.by_hand([said], {"weather": [tool]}, dt.date(2026, 11, 23))
    assert case.right(("forecast", {"city": "rome", "day": "3rd of May", "nights": None}))
    assert not case.right(("forecast", {"city": "Rome", "day": None, "nights": None}))
    assert not case.right(("forecast", {"city": "Rome", "day": "3rd of May", "nights": "3rd"}))
    assert case.slots is not None
    assert (1, 2, 2) == case.slots(("forecast", {"city": "Rome", "day": "Rome"}))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert [] == spoken.read(tmp_path)
    (tmp_path / spoken.NAME).write_text("- text: alone")
    with pytest.raises(InvalidInput, match=r"calls\.yaml"):
        spoken.read(tmp_path)
