"""Lessons of functions written by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from metier.actors.learning.sets import functions
from metier.topics.errors import InvalidInput

SHIPPED = Path(__file__).parents[2] / "cluster" / "teams" / "general-tools" / "training"


@pytest.fixture(scope="module")
def known() -> list[functions.Function]:
    return functions.read(SHIPPED)


def test_nearly_every_request_can_be_said_with_what_is_offered(known: list[functions.Function]) -> None:
    made = [
        functions._lesson([function.tool], function, asked, "") for function in known for asked in function.requests
    ]
    assert 1440 == len(made)
    assert 10 > sum(lesson is None for lesson in made)


def test_a_function_is_learned_alone_among_others_and_where_it_does_not_fit(known: list[functions.Function]) -> None:
    made = functions.lessons(known[:8], seed=1)
    offered = [lesson.turns[0].content.count("\n") + 1 for lesson in made]
    assert {1, 2, 3} == set(offered)
    refused = [lesson for lesson in made if msgspec.json.decode(lesson.call) == {"tool": None}]
    assert 0.2 < len(refused) / len(made) < 0.45
    assert made == functions.lessons(known[:8], seed=1)


def test_a_file_that_holds_no_functions_is_named(tmp_path: Path) -> None:
    (tmp_path / functions.NAME).write_text('{"name": "alone"}')
    with pytest.raises(InvalidInput, match=r"functions\.jsonl"):
        functions.read(tmp_path)
