"""How many replicas work needs."""

from __future__ import annotations

import pytest

from metier.cluster.sizing import Pace, replicas
from metier.topics.bus import Lag


@pytest.mark.parametrize(
    ("expected", "work"),
    [
        (0, {"waiting": 0, "in_flight": 0}),
        (1, {"waiting": 1, "in_flight": 0}),
        (1, {"waiting": 0, "in_flight": 1}),
        (4, {"waiting": 6, "in_flight": 2}),
        (10, {"waiting": 1000, "in_flight": 0}),
    ],
)
def test_replicas_begin_all_waiting_work_within_the_target_and_the_bounds(expected: int, work: dict[str, int]) -> None:
    assert expected == replicas(**work, service_s=0.5, target_wait_s=1.0, low=0, high=10, now=0)


def test_nothing_shrinks_while_work_waits() -> None:
    assert 5 == replicas(1, 0, service_s=0.5, target_wait_s=1.0, low=0, high=10, now=5)


def test_without_work_the_lower_bound_stays() -> None:
    assert 2 == replicas(0, 0, service_s=0.5, target_wait_s=1.0, low=2, high=10, now=5)


def measured(pace: Pace, ended_per_s: float, *, waiting: int = 100, running: int = 1, seconds: int = 60) -> float:
    for at_s in range(seconds):
        pace.note(at_s, Lag(waiting, 1, ended=round(at_s * ended_per_s)), running)
    return pace.service_s


def test_what_a_message_costs_is_measured_while_work_waits() -> None:
    assert measured(Pace(0.5), 10) == pytest.approx(0.1, rel=0.1)
    assert measured(Pace(0.5), 10, running=3) == pytest.approx(0.3, rel=0.1)


def test_little_measured_moves_what_was_assumed_a_little() -> None:
    assert 0.5 == measured(Pace(0.5), 10, seconds=1)
    assert measured(Pace(0.5), 4, seconds=2) == pytest.approx((0.5 * 4 + 1) / 8)


def test_idle_time_is_not_measured() -> None:
    assert 0.5 == measured(Pace(0.5), 1, waiting=0)


def test_a_consumer_that_was_made_anew_is_not_measured_across() -> None:
    pace = Pace(0.5)
    before = measured(pace, 10)
    pace.note(60, Lag(100, 1, ended=0), 1)
    assert before == pace.service_s
