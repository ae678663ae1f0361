"""The Schema-Guided Dialogue set, as a folder of the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from metier.actors.learning.sets import sgd
from metier.topics.errors import InvalidInput

SERVICES = {
    "Ferries_1": {
        "slots": [
            {"name": "port", "description": "Port", "is_categorical": False, "possible_values": []},
            {"name": "day", "description": "Day", "is_categorical": False, "possible_values": []},
            {"name": "cabin", "description": "Cabin", "is_categorical": True, "possible_values": ["Inside", "Outside"]},
        ],
        "intents": [
            {
                "name": "FindFerry",
                "description": "Find a ferry",
                "required_slots": ["port", "day"],
                "optional_slots": {"cabin": "dontcare"},
            }
        ],
    },
    "Banks_1": {
        "slots": [{"name": "amount", "description": "Amount", "is_categorical": False, "possible_values": []}],
        "intents": [{"name": "Pay", "description": "Pay somebody", "required_slots": ["amount"], "optional_slots": {}}],
    },
}


def turn(text: str, service: str = "Ferries_1", intent: str = "FindFerry", **more: Any) -> dict[str, Any]:
    args, canonical = more.pop("args", {}), more.pop("canonical", None)
    return {
        "id": f"train/{text}/0",
        "utterance": text,
        "first_turn": True,
        "domain": service.partition("_")[0].lower(),
        "service": service,
        "call": {"intent": intent, "args": args},
        "call_canonical": canonical and {"intent": intent, "args": canonical},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    turns = [
        turn("A ferry from Calais on the 3rd, outside", args={"port": "calais", "day": "the 3rd", "cabin": "Outside"}),
        turn("I need a ferry"),
        turn("A ferry to nowhere", args={"port": "Dover"}),
        turn("Pay ten euros", "Banks_1", "Pay", args={"amount": "ten euros"}),
    ]
    (tmp_path / "schemas_all_services.json").write_bytes(msgspec.json.encode(SERVICES))
    (tmp_path / "train.jsonl").write_bytes(b"\n".join(msgspec.json.encode(each) for each in turns))
    return tmp_path


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
