"""The leaderboard's cases, and which calls answer them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from metier.actors.learning.sets.bfcl import Case, answerable, json_schema, read, right
from metier.topics.errors import InvalidInput

TABLE = {
    "type": "dict",
    "properties": {
        "place": {"type": "string"},
        "guests": {"type": "integer"},
        "budget": {"type": "float", "optional": True},
        "terrace": {"type": "boolean"},
        "dishes": {"type": "array", "items": {"type": "string"}},
        "spot": {"type": "tuple", "items": {"type": "float"}},
        "host": {"type": "dict", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}},
        "smoking": {"type": "boolean"},
    },
    "required": ["place", "guests"],
}
ACCEPTED: dict[str, list[Any]] = {
    "place": ["Chez Jean-Luc", "Jean-Luc's"],
    "guests": [2],
    "budget": [80.0, ""],
    "terrace": [True, ""],
    "dishes": [["soup", "fish"], ["fish", "soup"], ""],
    "spot": [[48.5, 2], ""],
    "host": [{"name": ["Anna", "Anne"], "age": [40, ""]}, ""],
    "smoking": [None],
}
BOOKED = {"place": "Chez Jean-Luc", "guests": 2}


def case(accepted: list[dict[str, dict[str, list[Any]]]] | None, category: str = "simple_python") -> Case:
    return Case(
        id="one",
        category=category,
        text="a table for two at Jean-Luc's",
        functions=[{"name": "book.table", "description": "Books a table.", "parameters": TABLE}],
        accepted=accepted,
    )


BOOKING = case([{"book.table": ACCEPTED}])


def row(category: str, *said: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text} for text in said]
    functions = [{"name": "f", "description": "", "parameters": {"type": "dict", "properties": {}}}]
    return {
        "id": f"{category}_0",
        "category": category,
        "messages": messages,
        "functions": functions,
        "ground_truth": [{"f": {}}],
    } | more


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    (folder / "eval.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(rows))
    return folder


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"place": "CHEZ JEAN LUC"},
        {"place": "jean_lucs"},
        {"budget": 80.0},
        {"budget": 80},
        {"budget": None},
        {"terrace": True},
        {"dishes": ["Fish", "soup"]},
        {"spot": [48.5, 2.0]},
        {"host": {"name": "anne"}},
        {"host": {"name": "Anna", "age": 40}},
        {"host": {"name": "Anna", "age": None}},
        {"smoking": None},
        {"colour": None},
    ],
)
def test_a_call_with_accepted_values_is_right(given: dict[str, Any]) -> None:
    assert right(BOOKING, ("book.table", BOOKED | given))


@pytest.mark.parametrize(
    "given",
    [
        {"place": "Chez Jean"},
        {"place": None},
        {"guests": None},
        {"guests": 3},
        {"guests": 2.0},
        {"guests": "2"},
        {"budget": 90},
        {"budget": ""},
        {"terrace": False},
        {"terrace": 1},
        {"terrace": "true"},
        {"dishes": ["soup"]},
        {"dishes": ["soup", "meat"]},
        {"dishes": "soup"},
        {"spot": [2, 48.5]},
        {"host": {}},
        {"host": {"name": "Anna", "age": 41}},
        {"host": {"name": "Anna", "age": 40.0}},
        {"host": {"name": "Anna", "size": 170}},
        {"smoking": False},
        {"colour": "red"},
    ],
)
def test_a_call_with_another_value_is_wrong(given: dict[str, Any]) -> None:
    assert not right(BOOKING, ("book.table", BOOKED | given))


def test_another_function_or_no_call_is_wrong() -> None:
    assert not right(BOOKING, ("book_table", BOOKED))
    assert not right(BOOKING, None)


def test_a_required_argument_may_not_be_left_out_even_where_it_may_be_empty() -> None:
    asked = case([{"book.table": {"place": ["Chez Anna", ""], "guests": [2]}}])
    assert right(asked, ("book.table", {"place": "", "guests": 2}))
    assert not right(asked, ("book.table", {"guests": 2}))


def test_a_list_of_objects_is_matched_object_by_object() -> None:
    parameters = {"type": "dict", "properties": {"rules": {"type": "array", "items": {"type": "dict"}}}}
    filtered = Case(
        id="two",
        category="simple_python",
        text="older than 30, by name",
        functions=[{"name": "filter", "description": "", "parameters": parameters}],
        accepted=[{"filter": {"rules": [[{"field": ["age"], "value": ["30", 30]}, {"by": [{"key": "name"}]}]]}}],
    )
    assert right(filtered, ("filter", {"rules": [{"value": 30, "field": "Age"}, {"by": {"key": "Name"}}]}))
    assert not right(filtered, ("filter", {"rules": [{"by": {"key": "name"}}, {"field": "age", "value": 30}]}))
    assert not right(filtered, ("filter", {"rules": [{"field": "age", "value": 30}, {"by": {"key": "size"}}]}))


def test_no_call_is_right_where_no_function_is_relevant() -> None:
    assert right(case(None), None)
    assert not right(case(None), ("book.table", BOOKED))


def test_any_call_is_right_where_only_relevance_is_asked_for() -> None:
    assert right(case([]), ("book.table", {}))
    assert not right(case([]), None)


def test_one_call_does_not_answer_a_case_that_needs_two() -> None:
    twice = case([{"book.table": ACCEPTED}, {"book.table": ACCEPTED}])
    assert not right(twice, ("book.table", BOOKED))


def test_a_case_is_answerable_by_one_call_or_none() -> None:
    twice = case([{"book.table": ACCEPTED}, {"book.table": ACCEPTED}])
    assert [False, True, True] == [answerable(one) for one in (twice, BOOKING, case(None))]


def test_types_become_those_of_json_schema_at_any_depth() -> None:
    parameters = {
        "type": "dict",
        "properties": {
            "optional": {"type": "float", "description": "Any size.", "optional": True, "default": 1.5},
            "corners": {"type": "array", "items": {"type": "tuple", "items": {"type": "float"}}, "minItems": 2},
            "extra": {"type": "dict", "properties": {"value": {"type": "any", "description": "Anything."}}},
            "day": {"type": "string", "format": "date"},
        },
        "required": ["corners"],
        "optional": [],
    }
    assert {
        "type": "object",
        "properties": {
            "optional": {"type": "number", "description": "Any size.", "default": 1.5},
            "corners": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}, "minItems": 2},
            "extra": {"type": "object", "properties": {"value": {"description": "Anything."}}},
            "day": {"type": "string", "format": "date"},
        },
        "required": ["corners"],
    } == json_schema(parameters)


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        ({"type": "string", "enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"type": "integer", "enum": [1]}, {"type": "integer", "enum": [1, "any"]}),
        ({"type": "boolean"}, {"type": "boolean", "enum": ["True", "False"]}),
        ({"type": "integer"}, {"type": "integer", "enum": [True]}),
        ({"enum": [1, "a", False]}, {"type": "any", "enum": [1, "a", False]}),
        ({"type": "array", "items": {"enum": ["a"]}}, {"type": "array", "enum": ["a"]}),
        (
            {"type": "array", "items": {"type": "string", "enum": ["a"]}},
            {"type": "array", "items": {"type": "string"}, "enum": ["a"]},
        ),
    ],
)
def test_choices_are_kept_where_a_value_can_be_one(schema: dict[str, Any], parameters: dict[str, Any]) -> None:
    assert schema == json_schema(parameters)


def test_the_cases_of_the_named_categories_are_read_in_order(tmp_path: Path) -> None:
    folder = written(tmp_path, row("b", "Hello.", "Book it."), row("c", "no"), row("a", "yes", ground_truth=None))
    first, second = read(folder, {"a", "b"})
    assert ("b", "Hello.\nBook it.", [{"f": {}}]) == (first.category, first.text, first.accepted)
    assert ("a", "yes", None) == (second.category, second.text, second.accepted)
    assert "f" == first.functions[0]["name"]


def test_null_means_any_call_in_the_category_of_relevance(tmp_path: Path) -> None:
    (relevant,) = read(written(tmp_path, row("live_relevance", "Hello.", ground_truth=None)), ["live_relevance"])
    assert [] == relevant.accepted


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"eval\.jsonl cannot be read: No such file"):
        read(tmp_path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not hold the leaderboard's cases"):
        read(written(tmp_path, {"id": "x"}))


def test_a_category_the_file_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no category b; it has: a"):
        read(written(tmp_path, row("a", "Hello.")), ["a", "b"])
