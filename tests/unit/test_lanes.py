"""Whose turn it is."""

from __future__ import annotations

import pytest

from metier.topics import lanes
from metier.topics.lanes import LANES, PATIENCE, SHARES, Turns
from metier.topics.messages import Class


def test_the_classes_of_lanes_are_the_classes_of_tasks() -> None:
    assert tuple(Class) == lanes.CLASSES


def test_a_class_goes_before_the_next() -> None:
    assert 3 == Turns().next({SHARES + 1, 3, SHARES + 3})


def test_lanes_of_a_class_are_served_by_turns() -> None:
    turns = Turns()
    assert [0, 2, 5, 0, 2, 5] == [turns.next({0, 2, 5}) for _ in range(6)]


def test_a_lane_that_had_nothing_waits_no_longer_than_one_round() -> None:
    turns = Turns()
    for _ in range(10):
        turns.next({4})
    assert 6 == turns.next({4, 6})


def test_a_class_that_is_passed_over_long_enough_comes_first_once() -> None:
    turns = Turns()
    both = {0, SHARES}
    assert [0] * PATIENCE + [SHARES] + [0] * PATIENCE + [SHARES] == [
        turns.next(both) for _ in range(2 * (PATIENCE + 1))
    ]


@pytest.mark.parametrize(("tenant", "share"), [("acme", 7), ("default", 6), ("zoe", 1), ("x-1", 5)])
def test_a_tenant_always_has_the_same_share(tenant: str, share: int) -> None:
    assert share == lanes.share(tenant)


@pytest.mark.parametrize("place", range(len(LANES)))
def test_a_stored_subject_says_its_lane(place: int) -> None:
    class_, share = LANES[place]
    assert place == lanes.lane(f"metier.subtask.flights.{class_}.{share}")
