"""Measures against values worked out by hand."""

from __future__ import annotations

import random

import pytest

from metier.actors.learning import measures


def test_a_mean_lies_in_its_interval() -> None:
    figure = measures.mean([1.0] * 80 + [0.0] * 20)

    assert 0.8 == pytest.approx(figure.value)
    assert 0.7 < figure.low < 0.8 < figure.high < 0.9
    assert 100 == figure.n


def test_the_interval_is_wider_where_items_hang_together() -> None:
    values = [1.0] * 80 + [0.0] * 20
    loose = measures.mean(values)
    tight = measures.mean(values, [str(at // 20) for at in range(100)])

    assert tight.value == loose.value
    assert tight.high - tight.low > 2 * (loose.high - loose.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    rng = random.Random(3)
    values = [rng.random() for _ in range(30)]

    assert measures.mean(values, seed=5) == measures.mean(values, seed=5)
    assert measures.mean(values, seed=5) != measures.mean(values, seed=6)


def test_a_ratio_is_of_the_sums_not_of_the_items() -> None:
    assert 0.25 == pytest.approx(measures.ratio([1, 0], [1, 3]).value)


def test_auroc_counts_ties_half() -> None:
    assert 1.0 == measures.auroc([0.9, 0.8, 0.2], [True, True, False])
    assert 0.0 == measures.auroc([0.1, 0.8], [True, False])
    assert 0.5 == measures.auroc([0.4, 0.4, 0.4], [True, False, False])
    assert 0.75 == measures.auroc([0.9, 0.3, 0.3, 0.1], [True, True, False, False]) - 0.125


def test_false_positives_are_counted_at_the_score_that_reaches_the_recall() -> None:
    scores = [0.9, 0.8, 0.7, 0.6, 0.75, 0.1]
    positive = [True, True, True, True, False, False]

    assert 0.5 == measures.false_positives(scores, positive, recall=1.0)
    assert 0.0 == measures.false_positives(scores, positive, recall=0.5)


def test_calibration_error_is_the_gap_between_chance_and_share() -> None:
    sure = [0.95] * 20

    assert measures.calibration_error(sure, [True] * 19 + [False]) == pytest.approx(0.0)
    assert measures.calibration_error(sure, [True] * 10 + [False] * 10) == pytest.approx(0.45)
