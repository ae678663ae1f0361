"""What an encoder reads of a prompt: signatures, and where values stand."""

from __future__ import annotations

from typing import Any

import pytest

from metier.actors.engines.base import Turn
from metier.actors.engines.reading import NOTHING, Place, Reading, mentions, places, read

ABOUT = "\n".join(
    (
        "FindRide(from_city, seats?: 1|2|3, shared?: true|false, stops?: [text]) - Find a ride (cheap, quick).",
        "transfer.money(amount: number, to: {name, bank}, kind?: checking|savings_plus)",
    )
)
TEXT = "A ride from New York for three, not for the three of York but 1,200 or 2.5 or twenty-five."


def reading(text: str = TEXT, about: str = ABOUT) -> Reading:
    return read([Turn("system", about), Turn("user", text)])


def test_tools_and_their_arguments_are_read_from_the_signatures() -> None:
    first, second = reading().tools
    assert ["from_city", "seats", "shared", "stops"] == [slot.name for slot in first.slots]
    assert ["amount", "to", "kind"] == [slot.name for slot in second.slots]
    assert ("FindRide", 0) == (first.name, first.start)
    assert ABOUT[second.start :].startswith("transfer.money(")
    assert all(ABOUT[slot.start : slot.end] == slot.name for tool in (first, second) for slot in tool.slots)


def test_a_tool_without_arguments_has_none() -> None:
    (tool,) = reading(about="now() - The time.").tools
    assert () == tool.slots


def test_what_an_argument_is_for_is_no_part_of_its_name_or_of_its_choices() -> None:
    told = "FindRide(from_city (city to depart, as said), seats?: int (tickets), colours: [red|blue] (of seats)) - F."
    read_ = reading(about=told)
    (tool,) = read_.tools
    assert ["from_city", "seats", "colours"] == [slot.name for slot in tool.slots]
    assert [Place(told.index("blue"), told.index("blue") + 4, of_text=False)] == places(read_, tool.slots[2], "blue")
    assert [] == places(read_, tool.slots[2], "seats")


def test_a_prompt_that_offers_no_tool_is_refused() -> None:
    with pytest.raises(ValueError, match="offers no tool"):
        reading(about="You are a helpful assistant.")


@pytest.mark.parametrize(
    ("tool", "slot", "value", "expected"),
    [
        (0, 0, "New York", ["New York"]),
        (0, 0, "York", ["York", "York"]),
        (0, 0, "Yor", []),
        (0, 1, "3", ["3"]),
        (0, 2, True, ["true"]),
        (0, 3, "ride", ["ride"]),
        (1, 0, 1200, ["1,200"]),
        (1, 0, 2.5, ["2.5"]),
        (1, 0, 25, ["twenty-five"]),
        (1, 0, 3, ["three", "three"]),
        (1, 0, 7, []),
        (1, 2, "savings_plus", ["savings plus"]),
        (1, 2, "savings", []),
    ],
)
def test_a_value_stands_among_the_choices_or_in_the_request(
    tool: int, slot: int, value: Any, expected: list[str]
) -> None:
    whole = reading()
    found = places(whole, whole.tools[tool].slots[slot], value)
    assert expected == [(whole.text if place.of_text else whole.about)[place.start : place.end] for place in found]


def test_nothing_stands_before_everything() -> None:
    whole = reading()
    assert [NOTHING] == places(whole, whole.tools[0].slots[0], None)


def test_a_choice_is_not_looked_for_in_the_request() -> None:
    whole = reading("I want 2 seats")
    assert [Place(30, 31, of_text=False)] == places(whole, whole.tools[0].slots[1], "2")


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", ["three", "three"]), ("New York", ["New York"]), ("Sports", []), (True, []), (None, [])],
)
def test_a_choice_is_mentioned_where_the_request_says_it(value: Any, expected: list[str]) -> None:
    assert expected == [TEXT[place.start : place.end] for place in mentions(reading(), value)]


def test_places_overlap_on_one_side_only() -> None:
    assert Place(0, 4).overlaps(Place(3, 5))
    assert not Place(0, 4).overlaps(Place(4, 5))
    assert not Place(0, 4).overlaps(Place(0, 4, of_text=False))
