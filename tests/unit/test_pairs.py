"""Requests in two languages: where they belong, and how they are joined."""

from __future__ import annotations

from pathlib import Path

from metier.actors.learning import pairs, private
from metier.actors.learning.pairs import Pair
from metier.cluster import teams

TRIP = Path(teams.__path__[0]) / "trip"


def test_requests_are_joined_of_two_in_the_same_way_in_each_language() -> None:
    known = [Pair(f"en{at}", f"fr{at}", (f"trade{at}",)) for at in range(40)]
    known += [Pair("open", "ouvert", (), open=True), Pair("all", "tout", ("a", "b", "c"))]
    made = pairs.joined(known, "train", 50, seed=1)

    assert 50 == len(made)
    assert made == pairs.joined(known, "train", 50, seed=1)
    for pair in made:
        assert pair.fr == pair.en.replace("en", "fr")
        assert {f"trade{number}" for number in pair.en.replace("-", " ").replace("en", "").split()} == set(
            pair.specialists
        )


def test_what_was_written_for_testing_is_never_learned_from() -> None:
    for read in (pairs.read, private.read):
        learned, tested = read(TRIP / "training"), read(TRIP / "evaluation")
        assert tested
        assert not {each.en for each in learned} & {each.en for each in tested}
        assert not {each.fr for each in learned} & {each.fr for each in tested}


def test_what_is_private_is_judged_and_whom_it_needs_is_not() -> None:
    english, french = private.read(TRIP / "training")[0].examples

    assert (True, True) == (english.private, french.private)
    assert (False, False) == (english.routed, french.routed)
