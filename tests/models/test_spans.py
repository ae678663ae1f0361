"""The encoder that points at the words of arguments: its questions, its training, its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from metier.actors.learning import manifest, spans
from metier.actors.learning.examples import Call, Example
from metier.actors.learning.spans import Pointer, Question, Recipe

TRIP = Path(__file__).parents[2] / "cluster" / "teams" / "trip"
TEXT = "Vol Nantes-Marrakech le 18 avril, 30 € max, retour le 3"


@pytest.fixture(scope="module")
def pointer(e5: Path) -> Pointer:
    return spans.adapt(e5, Recipe(rank=2, layers=2))


def test_every_argument_of_a_call_is_a_question() -> None:
    call = Call("find_flights", {"origin": "Nantes", "max_price": "30 €", "back": None})
    example = Example(text=TEXT, labels=("flights",), calls={"flights": call})
    assert [
        Question("query: flights origin", TEXT, (4, 10)),
        Question("query: flights max price", TEXT, (34, 38)),
        Question("query: flights back", TEXT, None),
    ] == spans.questions(example)


def test_words_are_found_whole() -> None:
    assert (54, 55) == spans._place(TEXT, "3")


@pytest.mark.parametrize("words", ["Nantes", "le 18 avril", "30 €", "3"])
def test_the_tokens_of_an_answer_are_its_words(pointer: Pointer, words: str) -> None:
    question = Question("query: flights origin", TEXT, spans._place(TEXT, words))
    _, (offsets,) = pointer([question])
    first, last = spans._tokens(question.place, offsets)
    assert words == TEXT[offsets[first][0] : offsets[last][1]].strip()


def test_nothing_is_the_first_token(pointer: Pointer) -> None:
    _, (offsets,) = pointer([Question("query: flights origin", TEXT, None)])
    assert (0, 0) == spans._tokens(None, offsets)


def test_a_pointer_is_trained_saved_and_read(e5: Path, tmp_path: Path) -> None:
    recipe = Recipe(rank=2, layers=2, requests=8, spoken=0, batch=8, epochs=1)
    spans.run(TRIP, "multilingual-e5-small", e5, tmp_path / "spans", recipe, "metier train spans")
    pointer = spans.load(e5, tmp_path / "spans")
    ((words, chance),) = spans.answer(pointer, [Question("query: flights origin", TEXT, None)])
    assert words is None or words in TEXT
    assert 0 < chance < 1
    assert "metier train spans" == manifest.read(tmp_path / "spans").command
