"""Tools described by a JSON Schema: what a model may say of a request, and what becomes of it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from metier.actors.learning.sets.functions import sayable
from metier.actors.tools.base import Missing, Request, marked, spans
from metier.actors.tools.numerals import candidates
from metier.actors.tools.schema import Described

TODAY = dt.date(2026, 11, 23)
TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


def tool(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> Described:
    return Described("go", {"type": "object", "properties": properties, "required": list(required)}, "Goes. Far.")


def offered(text: str, schema: dict[str, Any]) -> Any:
    return tool(x=schema).offer(Request(text=text, today=TODAY)).schema["properties"]["x"]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([8, 2.5], "8 sides of 2.5 m"),
        ([3, 4, 5, 3.4], "3,4,5"),
        ([-3, -7], "from -3 to −7"),
        ([20, 80], "20-80"),
        ([1000000, 30, 3.5, 0.035], "$1,000,000 over 30 years at 3.5 percent"),
        ([5], "five of them"),
        ([5, 0.05], "5%"),
        ([], "none"),
    ],
)
def test_numbers_are_those_a_text_may_mean(numbers: list[float], text: str) -> None:
    assert set(numbers) <= set(candidates(text))
    assert bool(numbers) == bool(candidates(text))


def test_a_hyphen_between_numbers_is_no_sign() -> None:
    assert -80 not in candidates("20-80")


def test_a_number_is_one_the_request_says() -> None:
    assert {"enum": [None, 8, 2.5]} == offered("8 sides of 2.5 m", NUMBER)
    assert {"enum": [None, 8]} == offered("8 sides of 2.5 m", INTEGER)


def test_a_list_holds_what_a_single_value_may_be() -> None:
    schema = offered("the numbers 4 and 8", {"type": "array", "items": INTEGER})
    assert [{"type": "null"}, [4, 8]] == [schema["anyOf"][0], schema["anyOf"][1]["items"]["enum"]]
    assert {"type": "null"} == offered("no number", {"type": "array", "items": INTEGER})


def test_an_object_holds_its_parts_or_nothing() -> None:
    schema = offered("2 to Rome", {"type": "object", "properties": {"city": TEXT, "seats": INTEGER}})
    assert ["city", "seats"] == schema["anyOf"][1]["required"]
    assert {"enum": [None, 2]} == schema["anyOf"][1]["properties"]["seats"]


def test_what_is_quoted_or_written_with_marks_can_be_copied() -> None:
    text = "write 'Happy retirement!' to /tmp/out.log: x**2 - 1"
    found = {*spans(text), *marked(text)}
    assert {"Happy retirement!", "/tmp/out.log", "x**2 - 1"} <= found
    assert "/tmp/out.log" in offered(text, TEXT)["enum"]


def test_the_signature_hints_at_what_is_no_plain_text() -> None:
    described = tool(
        ("city",),
        city=TEXT,
        nights=INTEGER,
        board={"enum": ["half", "full"]},
        guests={"type": "array", "items": TEXT},
        room={"type": "object", "properties": {"beds": INTEGER, "view": TEXT}},
        late={"type": "boolean"},
        country={"enum": [f"country number {at}" for at in range(90)]},
    )
    assert (
        "go(city, nights?: int, board?: half|full, guests?: [text], room?: {beds, view}, late?: true|false, "
        "country?: country number 0|country number 1|...) - Goes."
    ) == described.offer(Request(text="", today=TODAY)).brief


@pytest.mark.parametrize(
    ("name", "schema", "shown"),
    [
        ("origin", {"description": "The city to depart from."}, "origin (city to depart from)"),
        ("seats", {"description": "How many tickets (1 to 9)", **INTEGER}, "seats: int (How many tickets)"),
        ("departure_date", {"description": "Date of departure"}, "departure_date"),
        ("toCity", {"description": "The city, to"}, "toCity"),
        ("colour", {"description": "What it looks like", "enum": ["red", "blue"]}, "colour: red|blue"),
        ("late", {"description": "After ten in the evening", "type": "boolean"}, "late: true|false"),
        ("note", {"description": " ".join(["word"] * 20)}, f"note ({' '.join(['word'] * 9)})"),
        ("note", {"description": "x" * 60}, "note"),
    ],
)
def test_the_signature_says_what_an_argument_is_for_where_its_name_does_not(
    name: str, schema: dict[str, Any], shown: str
) -> None:
    described = tool((name,), **{name: {**TEXT, **schema} if "enum" not in schema else schema})
    assert f"go({shown}) - Goes." == described.offer(Request(text="", today=TODAY)).brief


def test_what_was_not_said_inside_an_object_is_left_out() -> None:
    described = tool(room={"type": "object", "properties": {"beds": INTEGER, "view": TEXT}})
    request = Request(text="2 beds", today=TODAY)
    assert {"room": {"beds": 2}} == described.understand({"room": {"beds": 2, "view": None}}, request)


def test_a_required_argument_that_was_not_said_is_missing() -> None:
    with pytest.raises(Missing):
        tool(("city",), city=TEXT).understand({"city": None}, Request(text="", today=TODAY))


@pytest.mark.parametrize(
    ("possible", "arguments"),
    [
        (True, {"n": 8, "xs": [8, 2], "late": True}),
        (False, {"n": 9, "xs": None, "late": None}),
        (False, {"n": None, "xs": [8, 3], "late": None}),
        (False, {"n": True, "xs": None, "late": None}),
    ],
)
def test_an_offer_tells_what_it_can_say(possible: bool, arguments: dict[str, Any]) -> None:
    described = tool(n=INTEGER, xs={"type": "array", "items": INTEGER}, late={"type": "boolean"})
    assert possible == sayable(described.offer(Request(text="8 and 2, late", today=TODAY)), arguments)
