"""The arm of the nearest neighbour: the call of the request that was learned and is most like the one that is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from transformers import AutoTokenizer, BertModel

from ...engines.encoder import embed, tokenize
from ..lessons import Lesson
from .calls import Answer
from .cases import Call, Case

_BATCH = 32


def answers(base: Path, learned: Sequence[Lesson], cases: Sequence[Case]) -> list[Answer]:
    """For each case the call of the nearest lesson, of the same specialist where the case has one, word for word."""
    model: Any = BertModel.from_pretrained(base, add_pooling_layer=False, dtype=torch.float32)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(base)

    def embedded(texts: Sequence[str]) -> torch.Tensor:
        with torch.inference_mode():
            parts = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
            return torch.cat([embed(model, tokenize(tokenizer, part, "query: ")) for part in parts])

    known = embedded([lesson.turns[-1].content for lesson in learned])
    made: list[Answer] = []
    for case in cases:
        began = time.perf_counter()
        near = (known @ embedded([case.text])[0]).tolist()
        own = [at for at, lesson in enumerate(learned) if case.part in ("", lesson.specialist)]
        best = max(own, key=near.__getitem__)
        made.append(Answer(_call(learned[best], case), near[best], near[best], time.perf_counter() - began))
    return made


def _call(lesson: Lesson, case: Case) -> Call:
    call = msgspec.json.decode(lesson.call)
    if case.part:
        return case.offers[0].name, call
    return None if call["tool"] is None else (call["tool"], call["arguments"])
