"""How good a router's scores are, and the temperatures and thresholds that make the best of them."""

from __future__ import annotations

import msgspec
import torch
from torch.nn import functional

from ..engines.encoder import Heads
from .examples import OPEN

_TEMPERATURES = [0.5 + step / 10 for step in range(36)]
#: From the middle outwards, so that of equally good thresholds the middle one is taken.
_THRESHOLDS = sorted((step / 20 for step in range(4, 17)), key=lambda value: abs(value - 0.5))


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """Logits and truth, both `[requests, labels + 1]`; open is last."""

    labels: tuple[str, ...]
    logits: torch.Tensor
    truth: torch.Tensor
    temperature: float = 1.0
    open_temperature: float = 1.0

    @property
    def chances(self) -> torch.Tensor:
        """Probabilities `[requests, labels + 1]`."""
        divisors = torch.full((self.logits.shape[1],), self.temperature)
        divisors[-1] = self.open_temperature
        return torch.sigmoid(self.logits / divisors)


def fit_temperature(scores: Scores) -> Scores:
    """The same with the temperatures under which the truth is likeliest."""
    return msgspec.structs.replace(
        scores,
        temperature=_likeliest(scores.logits[:, :-1], scores.truth[:, :-1]),
        open_temperature=_likeliest(scores.logits[:, -1:], scores.truth[:, -1:]),
    )


def _likeliest(logits: torch.Tensor, truth: torch.Tensor) -> float:
    return min(
        _TEMPERATURES,
        key=lambda value: float(functional.binary_cross_entropy_with_logits(logits / value, truth)),
    )


def fit_thresholds(scores: Scores) -> dict[str, float]:
    """The threshold of each label, and of open, with the best F1."""
    chances, names = scores.chances, (*scores.labels, OPEN)
    return {name: _best(chances[:, at], scores.truth[:, at] > 0) for at, name in enumerate(names)}


def _best(chances: torch.Tensor, truth: torch.Tensor) -> float:
    return max(_THRESHOLDS, key=lambda value: f1(chances >= value, truth))


def f1(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Harmonic mean of precision and recall; 1 where there is nothing to find and nothing was found."""
    hits, all_ = float((found & truth).sum()), float(found.sum() + truth.sum())
    return 2 * hits / all_ if all_ else 1.0


def chosen(scores: Scores, heads: Heads) -> torch.Tensor:
    """Whom heads call, and whether they take a request for open, `[requests, labels + 1]`: what is open goes to no
    specialist."""
    scores = msgspec.structs.replace(scores, temperature=heads.temperature, open_temperature=heads.open_temperature)
    found = scores.chances >= torch.tensor([heads.thresholds[label] for label in (*scores.labels, OPEN)])
    found[:, :-1] &= ~found[:, -1:]
    return found


def metrics(scores: Scores, heads: Heads, name: str) -> dict[str, float]:
    """Held-out figures: all specialists right, F1 over them, and how open requests are told apart."""
    found = chosen(scores, heads)
    truth = scores.truth > 0
    is_open, was_open, needed = truth[:, -1], found[:, -1], found[:, :-1]
    right = (needed == truth[:, :-1]).all(dim=1)
    figures = {
        "requests": float(len(truth)),
        "exact": _mean(right[~is_open]),
        "f1": f1(needed, truth[:, :-1]),
        "open.recall": _mean(was_open[is_open]),
        "open.false": _mean(was_open[~is_open]),
    }
    return {f"{name}.{key}": round(value, 4) for key, value in figures.items()}


def _mean(values: torch.Tensor) -> float:
    return float(values.float().mean()) if len(values) else 1.0
