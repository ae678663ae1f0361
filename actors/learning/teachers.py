"""Several tuned encoders agree on what one is to learn: it keeps most of what their mean knows, at a part of its cost.

What they say of the sentences that they themselves have learned is hardly more than the labels (Hinton et al. 2015,
arXiv 1503.02531; Furlanello et al. 2018, arXiv 1805.04770), so they are asked about sentences with words left out, too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import msgspec
import torch

from . import heads
from .examples import Example


def opinions(teachers: Sequence[heads.Router], examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """What the teachers, on the average, make of each text: how likely each label is, `[labels]`."""
    total = torch.zeros(())
    for teacher in teachers:
        total = total + torch.softmax(heads.score(teacher, examples).logits[:, :-1], -1)
    mean = total / len(teachers)
    return {example.text: chances for example, chances in zip(examples, mean, strict=True)}


def thinned(examples: Sequence[Example], share: float, seed: int) -> Iterator[Example]:
    """Each example with a share of its words left out, at least one of them."""
    rng = random.Random(f"{seed}/thinned")
    for example in examples:
        words = example.text.split()
        if len(words) > 1:
            gone = max(1, sum(rng.random() < share for _ in words))
            kept = sorted(rng.sample(range(len(words)), max(1, len(words) - gone)))
            yield msgspec.structs.replace(example, text=" ".join(words[at] for at in kept))
