"""Routing by example: a request goes to the specialists whose example requests are nearest.

It needs no training, so a new team, or a new specialist of a team with trained heads, gets its requests from the first
minute; trained heads are surer, and know compounds. Similarity is the cosine of sentence embeddings
(https://arxiv.org/abs/1908.10084). What cosine means "near" differs between encoders, so it is counted in standard
deviations above what the examples have with sentences about anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Sentences about anything.
ANYTHING = (
    "What time is it in Tokyo?",
    "Tell me a joke about cats.",
    "How do I boil an egg?",
    "The meeting went well yesterday.",
    "Translate this sentence into German.",
    "Who painted the Mona Lisa?",
    "My bicycle has a flat tyre.",
    "Is it safe to swim here?",
    "How tall is the Eiffel Tower?",
    "Please summarise this article.",
    "I would like to change my password.",
    "Play some quiet music.",
    "What is seven times eight?",
    "Quelle heure est-il à Tokyo ?",
    "Comment cuire un œuf ?",
    "Écris un poème sur l'automne.",
    "Pourquoi le ciel est-il bleu ?",
    "Mon vélo a un pneu crevé.",
)
#: A request that is less near to every example is nobody's trade. Twelve intents of CLINC150 with eight examples each,
#: two draws, requests of `val`: 90 and 98 % are found (all-MiniLM-L6-v2; multilingual-e5-small 78 and 83 %), and of
#: those of the other 138 intents 47 and 40 % (29 and 20 %) are taken for one of the twelve.
LEAST = 3.5
#: Specialists whose nearest example is so much further than the nearest of all are not called.
MARGIN = 0.6
#: How fast a probability rises past the line.
SLOPE = 3.0


class Nearest:
    """Example requests of each specialist, embedded."""

    def __init__(
        self, labels: Sequence[str], owners: Sequence[int], embeddings: torch.Tensor, anything: torch.Tensor
    ) -> None:
        """Takes the labels, the place in them of each example's owner, and the embeddings of the examples `[N, H]` and
        of sentences about anything `[M, H]`."""
        self.labels = list(labels)
        self._owners = owners
        self._embeddings = embeddings
        usual = embeddings @ anything.T
        self._mean, self._deviation = float(usual.mean()), float(usual.std())

    def score(self, embeddings: torch.Tensor) -> tuple[list[list[float]], list[float]]:
        """Of texts `[B, H]`: the probability of each label `[B, L]`, and of nobody's `[B]`."""
        import torch

        similar = (embeddings @ self._embeddings.T - self._mean) / self._deviation
        best = torch.full((len(embeddings), len(self.labels)), float("-inf"))
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
