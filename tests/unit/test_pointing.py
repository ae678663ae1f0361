"""How values are chosen from scores: by hand, without a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from metier.actors.engines.base import Turn
from metier.actors.engines.pointing import Allowed, Scores, fill
from metier.actors.engines.reading import read

TEXT = "2 rooms in Rome or Oslo"
ABOUT = "book(city, other?, rooms?: 1|2, stars?: 1|2, stops?: [text])"


class Letters:
    """An encoding with a token for each character: the signatures after the first token, then the request."""

    def char_to_token(self, at: int, part: int) -> int:
        return 1 + at + part * len(ABOUT)


def scores(**likely: Mapping[str, float]) -> Scores:
    """Chances of values by argument; "" is nothing, which has the rest."""
    reading = read([Turn("system", ABOUT), Turn("user", TEXT)])
    (tool,) = reading.tools
    size = 1 + len(ABOUT) + len(TEXT)
    ends = torch.full((len(tool.slots), 2, size), -20.0)
    for row, slot in enumerate(tool.slots):
        chances = dict(likely.get(slot.name, {}))
        ends[row, :, 0] = math.log(max(1e-6, 1 - sum(chances.values()))) / 2
        for words, chance in chances.items():
            hint = ABOUT.find(words, slot.end, slot.until)
            start = 1 + hint if hint >= 0 else 1 + len(ABOUT) + TEXT.index(words)
            ends[row, 0, start] = ends[row, 1, start + len(words) - 1] = math.log(chance) / 2
    return Scores(reading, Letters(), torch.zeros(2), ends)


def filled(allowed: Mapping[str, Allowed], **likely: Mapping[str, float]) -> dict[str, Any]:
    made = scores(**likely)
    return {name: each.value for name, each in fill(made, made.reading.tools[0], allowed).items()}


WORDS = Allowed([None, "Rome", "Oslo", "rooms", "Rome or Oslo"])
NUMBERS = Allowed([None, "1", "2"])


def test_an_argument_has_the_likeliest_of_what_is_allowed() -> None:
    assert {"city": "Rome"} == filled({"city": WORDS}, city={"Rome": 0.6, "Oslo": 0.3})
    assert {"city": "Oslo"} == filled({"city": Allowed([None, "Oslo"])}, city={"Rome": 0.6, "Oslo": 0.3})


def test_what_is_less_likely_than_nothing_stays_unsaid() -> None:
    assert {"city": None} == filled({"city": WORDS}, city={"Rome": 0.4})


def test_where_nothing_is_not_allowed_something_is_said() -> None:
    assert {"city": "Rome"} == filled({"city": Allowed(["Rome", "Oslo"])}, city={"Rome": 0.1})


def test_the_same_words_fill_one_argument_the_surer_one() -> None:
    both = {"city": WORDS, "other": WORDS}
    assert {"city": "Oslo", "other": "Rome"} == filled(both, city={"Rome": 0.5, "Oslo": 0.45}, other={"Rome": 0.9})
    assert {"city": None, "other": "Rome or Oslo"} == filled(both, city={"Rome": 0.6}, other={"Rome or Oslo": 0.9})


def test_nothing_is_left_where_all_likely_words_are_taken() -> None:
    likely = {"Rome": 0.2, "in Rome": 0.18, "n Rome": 0.17, "Rome or": 0.16, "Rome o": 0.15, " Rome": 0.1}
    words = Allowed([None, *likely])
    assert {"city": "Rome or Oslo", "other": None} == filled(
        {"city": WORDS, "other": words}, city={"Rome or Oslo": 0.999}, other=likely
    )


def test_a_number_that_is_said_once_is_the_choice_of_one_argument() -> None:
    both = {"rooms": NUMBERS, "stars": NUMBERS}
    assert {"rooms": "2", "stars": None} == filled(both, rooms={"2": 0.9}, stars={"2": 0.8})


def test_a_choice_that_is_not_said_in_its_own_words_can_be_of_two() -> None:
    both = {"rooms": NUMBERS, "stars": NUMBERS}
    assert {"rooms": "1", "stars": "1"} == filled(both, rooms={"1": 0.9}, stars={"1": 0.8})


def test_a_list_has_all_that_is_likely_enough_in_the_order_it_is_said() -> None:
    several = {"stops": Allowed([None, "Oslo", "Rome", "rooms"], many=True)}
    assert {"stops": ["Rome", "Oslo"]} == filled(several, stops={"Oslo": 0.5, "Rome": 0.4, "rooms": 0.01})
    assert {"stops": None} == filled(several, stops={"Oslo": 0.1})


def test_a_chance_is_a_share_of_what_is_allowed() -> None:
    made = scores(city={"Rome": 0.6, "Oslo": 0.3})
    found = fill(made, made.reading.tools[0], {"city": Allowed(["Rome", "Oslo"])})["city"]
    assert "Rome" == found.value
    assert pytest.approx(2 / 3, abs=1e-3) == found.chance
    assert {} == fill(made, made.reading.tools[0], {"other": Allowed([])})
