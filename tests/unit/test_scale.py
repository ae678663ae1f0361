"""How many replicas work needs."""

from __future__ import annotations

import pytest

from metier.cluster.scale import replicas


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
