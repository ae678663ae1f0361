"""Lessons of functions written by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness import ferries
from metier.actors.engines import reading
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
    assert 3_200 < len(made)
    assert 10 > sum(lesson is None for lesson in made)


def test_a_function_is_learned_alone_among_others_and_where_it_does_not_fit(known: list[functions.Function]) -> None:
    made = functions.lessons(known[:8], seed=1)
    offered = [lesson.turns[0].content.count("\n") + 1 for lesson in made]
    assert {1, 2, 3} == set(offered)
    refused = [lesson for lesson in made if msgspec.json.decode(lesson.call) == {"tool": None}]
    assert 0.2 < len(refused) / len(made) < 0.45
    assert made == functions.lessons(known[:8], seed=1)


def test_what_sounds_like_a_function_and_is_not_for_it_is_refused(known: list[functions.Function]) -> None:
    near = [function for function in known if function.others][:8]
    refused = {lesson.turns[-1].content for lesson in functions.lessons(near, seed=1) if "null}" in lesson.call[-7:]}

    for function in near:
        assert 2 == len(refused & set(function.others))


def test_functions_that_are_kept_for_choosing_are_never_learned(
    known: list[functions.Function], tmp_path: Path
) -> None:
    made = functions.general(400, 1, ferries.write(tmp_path), SHIPPED)
    taught = "\n".join(lesson.turns[0].content for lesson in made)
    kept = [function for function in known if function.split == "dev"]

    assert 30 < len(kept) < 130
    assert not [function.name for function in kept if f"{function.name}(" in taught]


def test_a_lesson_can_be_of_tools_that_do_not_tell_what_arguments_are_for(known: list[functions.Function]) -> None:
    told = functions.lessons(known[:8], seed=1)[0]
    untold = told.untold()
    assert untold.call == told.call
    assert untold.turns[1:] == told.turns[1:]
    names = [[slot.name for tool in reading.read(each.turns).tools for slot in tool.slots] for each in (told, untold)]
    assert names[0] == names[1]
    assert " (" in told.turns[0].content.rpartition(" - ")[0]
    assert " (" not in untold.turns[0].content.rpartition(" - ")[0]


def test_a_file_that_holds_no_functions_is_named(tmp_path: Path) -> None:
    (tmp_path / functions.NAME).write_text('{"name": "alone"}')
    with pytest.raises(InvalidInput, match=r"functions\.jsonl"):
        functions.read(tmp_path)
