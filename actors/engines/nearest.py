"""Routing by example: a request goes to the specialists whose example requests are nearest.

It needs no training, so a new team routes from its first minute; trained heads are surer, and know compounds.
Similarity is the cosine of sentence embeddings (https://arxiv.org/abs/1908.10084).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: A request less like every example than this is nobody's trade. Unrelated sentences have about 0.1, paraphrases 0.5
#: and more (all-MiniLM-L6-v2).
LEAST = 0.25
#: Specialists whose nearest example is this much further than the nearest of all are not called.
MARGIN = 0.05
#: How fast a probability rises past the line.
SLOPE = 40.0


class Nearest:
    """Example requests of each specialist, embedded."""

    def __init__(self, labels: Sequence[str], owners: Sequence[int], embeddings: torch.Tensor) -> None:
        """Takes the labels, the place in them of each example's owner, and the examples' embeddings `[N, H]`."""
        self.labels = list(labels)
        self._owners = owners
        self._embeddings = embeddings

    def score(self, embeddings: torch.Tensor) -> tuple[list[list[float]], list[float]]:
        """Of texts `[B, H]`: the probability of each label `[B, L]`, and of nobody's `[B]`."""
        import torch

        similar = embeddings @ self._embeddings.T
        best = torch.full((len(embeddings), len(self.labels)), -1.0)
        for place, owner in enumerate(self._owners):
            best[:, owner] = torch.maximum(best[:, owner], similar[:, place])
        nearest = best.max(dim=1, keepdim=True).values
        line = (nearest - MARGIN).clamp(min=LEAST)
        needed = torch.sigmoid(SLOPE * (best - line))
        return needed.tolist(), torch.sigmoid(SLOPE * (LEAST - nearest)).squeeze(1).tolist()


def flat(examples: Mapping[str, Sequence[str]]) -> tuple[list[str], list[int], list[str]]:
    """Labels, the owner of each example by place, and the examples, in order."""
    labels = list(examples)
    pairs = [(place, text) for place, label in enumerate(labels) for text in examples[label]]
    return labels, [place for place, _ in pairs], [text for _, text in pairs]
