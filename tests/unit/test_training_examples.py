"""What the trip team's models learn from: the same every time, true to the words, apart from what tests them."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

import pytest

from metier.actors.learning.examples import OPEN, Example, Phrasebook, generate
from metier.actors.learning.lessons import WEIGHTS, lessons
from metier.actors.learning.phrases import Grammar, Split, part
from metier.actors.prompts import call_prompt
from metier.actors.tools.base import Request, spans
from metier.actors.tools.function import FunctionTool, load_function
from metier.cluster import teams
from metier.topics.errors import InvalidValue

FOLDER = Path(teams.__path__[0]) / "trip" / "training"


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return Phrasebook.read(FOLDER)


@pytest.fixture(scope="module")
def examples(book: Phrasebook) -> list[Example]:
    return generate(book, 600, "train", 3, {**WEIGHTS, OPEN: 0.2})


def test_the_same_seed_makes_the_same_examples(book: Phrasebook, examples: list[Example]) -> None:
    assert examples == generate(Phrasebook.read(FOLDER), 600, "train", 3, {**WEIGHTS, OPEN: 0.2})
    assert examples != generate(book, 600, "train", 4, {**WEIGHTS, OPEN: 0.2})


def test_every_value_is_a_run_of_the_requests_words(examples: list[Example]) -> None:
    for example in examples:
        allowed = {None, *spans(example.text)}
        for call in example.calls.values():
            assert allowed >= set(call.arguments.values()), example.text


def test_no_two_examples_are_alike(examples: list[Example]) -> None:
    assert len(examples) == len({example.text for example in examples})


def test_an_example_is_open_or_needs_somebody(examples: list[Example]) -> None:
    assert {(False, True), (True, False)} == {(example.open, bool(example.labels)) for example in examples}


@pytest.mark.parametrize("language", ["en", "fr"])
def test_no_template_is_both_trained_on_and_tested_on(book: Phrasebook, language: str) -> None:
    trained, tested = (
        {sentence for group in book.groups(language, split) for sentence in book.templates(language, group, split)}
        for split in ("train", "test")
    )
    assert set() == trained & tested
    assert len(tested) > 50


@pytest.mark.parametrize("french", [0.0, 1.0])
def test_no_city_of_a_language_is_both_trained_on_and_tested_on(book: Phrasebook, french: float) -> None:
    def cities(split: Split) -> set[str]:
        made = generate(book, 500, split, 3, WEIGHTS, french)
        calls = [call for example in made for call in example.calls.values()]
        return {(call.arguments.get("city") or "").casefold() for call in calls} - {""}

    assert set() == cities("train") & cities("test")


@pytest.mark.parametrize("language", ["en", "fr"])
def test_each_specialist_has_at_least_25_sentences_in_each_language(book: Phrasebook, language: str) -> None:
    for name in book.team.specialists:
        count = sum(len(book.templates(language, name, split)) for split in ("train", "dev", "test"))
        assert count >= 25, name


def test_what_a_person_asks_in_the_acceptance_test_is_never_trained_on(book: Phrasebook) -> None:
    never = {text.casefold().strip(" ?") for text in book.team.never}
    made = generate(book, 3_000, "train", 7, WEIGHTS)
    assert set() == never & {example.text.casefold().strip(" .!?") for example in made}


def test_the_prompt_that_is_trained_on_is_the_prompt_that_is_served(book: Phrasebook) -> None:
    providers = {"travel": object(), "calendar": object()}
    text = "Find me a hotel in Lyon tomorrow"
    request = Request(text=text, today=dt.date(2026, 11, 23))
    for name, slots in book.team.specialists.items():
        tool = FunctionTool(load_function(f"metier.cluster.teams.trip.tools:{slots.tool}"), providers)
        served = call_prompt([tool.offer(request)], request, None)
        assert served == call_prompt([slots.offer(text)], request, None), name


def test_no_specialist_is_taught_much_more_than_another(book: Phrasebook) -> None:
    made = lessons(book.team, generate(book, 600, "train", 3, WEIGHTS), 600, 3)
    counts = {name: sum(lesson.specialist == name for lesson in made) for name in book.team.specialists}
    assert 600 == sum(counts.values())
    assert min(counts.values()) > 40


def test_a_mark_keeps_to_its_specialist() -> None:
    grammar = Grammar({"day": ["[day: Friday]"]})
    made = grammar.expand(
        "a room [@hotels: {day}] and a table [@restaurants: [day: tonight]]", "train", random.Random(1)
    )
    assert "a room Friday and a table tonight" == made.text
    assert ("Friday", "tonight", None) == (
        made.said(["day"], "hotels"),
        made.said(["day"], "restaurants"),
        made.said(["day"], "flights"),
    )


def test_marks_may_lie_within_marks() -> None:
    made = Grammar({}).expand("[day: this [nights: weekend]]", "train", random.Random(1))
    assert ("this weekend", "weekend") == (made.said(["day"], ""), made.said(["nights"], ""))


@pytest.mark.parametrize("template", ["{nothing}", "[day: Friday", "(a|b", "a) b"])
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(InvalidValue):
        Grammar({}).expand(template, "train", random.Random(1))


def test_of_eight_alternatives_one_is_for_dev_and_one_for_test() -> None:
    letters = list("abcdefgh")
    assert (["a", "b", "c", "d", "e", "g"], ["f"], ["h"]) == (
        part(letters, "train"),
        part(letters, "dev"),
        part(letters, "test"),
    )
