"""The Schema-Guided Dialogue set, as a folder of the same form."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from harness import ferries
from harness.ferries import turn
from metier.actors.learning.sets import sgd
from metier.topics.errors import InvalidInput


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return ferries.write(tmp_path)


def first(folder: Path) -> sgd.Turn:
    return sgd.read(folder, "train")[0]


def test_a_lesson_copies_what_was_said_and_chooses_among_choices(folder: Path) -> None:
    taught = sgd.lesson(sgd.tools(folder)["Ferries_1"], first(folder))

    assert taught is not None
    assert "FindFerry(port, day, cabin?: Inside|Outside|dontcare) - Find a ferry" == taught.turns[0].content
    assert '{"tool":"FindFerry","arguments":{"port":"Calais","day":"the 3rd","cabin":"Outside"}}' == taught.call


def test_a_turn_with_a_value_that_it_does_not_say_teaches_nothing(folder: Path) -> None:
    assert sgd.lesson(sgd.tools(folder)["Ferries_1"], sgd.read(folder, "train")[2]) is None


def test_lessons_are_calls_bare_calls_and_refusals(folder: Path) -> None:
    calls = {lesson.call for lesson in sgd.lessons(60, 1, folder)}

    assert '{"tool":null}' in calls
    assert '{"tool":"FindFerry","arguments":{"port":null,"day":null,"cabin":null}}' in calls
    assert '{"tool":"Pay","arguments":{"amount":"ten euros"}}' in calls


def test_tools_are_shown_in_many_ways_that_keep_what_a_call_names(folder: Path) -> None:
    prompts = {lesson.turns[0].content for lesson in sgd.lessons(200, 1, folder) if '"port":"Calais"' in lesson.call}
    shown = [prompt.partition(" - ")[0] for prompt in prompts]

    assert "FindFerry(port, day, cabin?: Inside|Outside|dontcare)" in shown
    assert 3 < len(shown)
    assert all({"port", "day", "cabin?"} <= set(re.findall(r"\w+\??", prompt)) for prompt in shown)


def test_dialogues_that_are_kept_for_choosing_are_never_learned(folder: Path) -> None:
    many = [turn(f"Pay {number} euros", "Banks_1", "Pay", args={"amount": f"{number} euros"}) for number in range(400)]
    (folder / "train.jsonl").write_bytes(b"\n".join(msgspec.json.encode(each) for each in many))
    kept = {each.text for each in sgd.read(folder, "kept")}
    learned = {lesson.turns[-1].content for lesson in sgd.lessons(800, 1, folder)}

    assert 5 < len(kept) < 50
    assert not kept & learned
    assert 400 == len(kept) + len(sgd.read(folder, "train"))


def test_a_call_is_right_in_the_words_of_the_turn_or_in_canonical_form() -> None:
    wanted = msgspec.convert(
        turn("x", args={"port": "LA", "day": "the 3rd"}, canonical={"port": "Los Angeles", "day": "2019-03-03"}),
        sgd.Turn,
    )

    assert sgd.right(wanted, ("FindFerry", {"port": "la", "day": " The  3rd.", "cabin": None}))
    assert sgd.right(wanted, ("FindFerry", {"port": "Los Angeles", "day": "2019-03-03"}))
    assert not sgd.right(wanted, ("FindFerry", {"port": "la"}))
    assert not sgd.right(wanted, ("FindFerry", {"port": "la", "day": "the 3rd", "cabin": "Inside"}))
    assert not sgd.right(wanted, ("Pay", {"port": "la", "day": "the 3rd"}))
    assert not sgd.right(wanted, None)


@pytest.mark.parametrize(
    ("one", "other"), [("Two Rooms", "2 rooms"), ("Yes", "true"), ("Cafe\N{NO-BREAK SPACE}Noir.", "cafe noir")]
)
def test_what_does_not_count_is_left_out_of_values(one: str, other: str) -> None:
    assert sgd.normal(one) == sgd.normal(other)


def test_asks_are_what_people_say_first_by_specialist(folder: Path) -> None:
    found = sgd.asks(folder, {"ferries": "boats"}, 2, 1)

    assert {"boats"} == found.keys()
    assert 2 == len(found["boats"])


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"dev\.jsonl cannot be read"):
        sgd.read(tmp_path, "dev")
