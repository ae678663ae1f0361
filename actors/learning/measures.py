"""Measures of held-out figures, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np

ROUNDS = 2_000


class Figure(msgspec.Struct, frozen=True):
    """A figure and its 95 % interval, percentiles of a bootstrap (Efron and Tibshirani 1993, chapter 13)."""

    value: float
    low: float
    high: float
    #: Items it was measured on.
    n: int


def mean(values: Sequence[float], groups: Sequence[str] | None = None, seed: int = 7) -> Figure:
    """The mean; items of one group, such as turns of a dialogue, are drawn together."""
    return ratio(values, [1.0] * len(values), groups, seed)


def ratio(
    parts: Sequence[float], wholes: Sequence[float], groups: Sequence[str] | None = None, seed: int = 7
) -> Figure:
    """The sum of parts over the sum of wholes, item by item: a mean, a micro F1 (2 · hits over found and true)."""
    names = list(groups) if groups is not None else [str(at) for at in range(len(parts))]
    places = {name: at for at, name in enumerate(dict.fromkeys(names))}
    sums = np.zeros((len(places), 2))
    for name, part, whole in zip(names, parts, wholes, strict=True):
        sums[places[name]] += (part, whole)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(places), np.full(len(places), 1 / len(places)), size=ROUNDS) @ sums
    found = drawn[:, 0] / np.maximum(drawn[:, 1], 1e-12)
    low, high = np.percentile(found, (2.5, 97.5))
    return Figure(float(sums[:, 0].sum() / max(sums[:, 1].sum(), 1e-12)), float(low), float(high), len(parts))


def percentile(values: Sequence[float], share: float, seed: int = 7) -> Figure:
    """The value that `share` per cent of the items do not exceed."""
    drawn = np.random.default_rng(seed).choice(values, (ROUNDS, len(values)))
    low, high = np.percentile(np.percentile(drawn, share, axis=1), (2.5, 97.5))
    return Figure(float(np.percentile(values, share)), float(low), float(high), len(values))


def drawn(
    measure: Callable[[Sequence[float], Sequence[bool]], float], pairs: Sequence[tuple[float, bool]], seed: int = 7
) -> Figure:
    """A measure of scores and truth together, such as `auroc`; draws in which all are alike do not count."""
    scores, truth = np.array([score for score, _ in pairs], dtype=float), np.array([right for _, right in pairs])
    rng = np.random.default_rng(seed)
    found: list[float] = []
    for _ in range(ROUNDS // 4):
        places = rng.integers(0, len(pairs), len(pairs))
        if 0 < truth[places].sum() < len(pairs) or len(set(truth.tolist())) == 1:
            found.append(measure(scores[places].tolist(), truth[places].tolist()))
    low, high = np.percentile(found, (2.5, 97.5))
    return Figure(measure(scores.tolist(), truth.tolist()), float(low), float(high), len(pairs))


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """The chance that a positive item scores above another, ties counted half (Fawcett 2006, section 7)."""
    order = np.asarray(scores, dtype=float)
    truth = np.asarray(positive, dtype=bool)
    _, inverse, counts = np.unique(order, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    few, many = int(truth.sum()), int((~truth).sum())
    return float((ranks[truth].sum() - few * (few + 1) / 2) / (few * many))


def false_positives(scores: Sequence[float], positive: Sequence[bool], recall: float = 0.95) -> float:
    """The share of other items at or above the score that so many positive items reach (FPR at 95)."""
    order, truth = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    threshold = np.sort(order[truth])[::-1][int(np.ceil(recall * truth.sum())) - 1]
    return float((order[~truth] >= threshold).mean())


def calibration_error(chances: Sequence[float], right: Sequence[bool], bins: int = 15) -> float:
    """Expected calibration error with equal bins (Guo et al. 2017, arXiv 1706.04599, section 2)."""
    chance, truth = np.asarray(chances, dtype=float), np.asarray(right, dtype=float)
    places = np.minimum((chance * bins).astype(int), bins - 1)
    gaps = [abs(chance[places == at].mean() - truth[places == at].mean()) * (places == at).mean() for at in set(places)]
    return float(sum(gaps))
