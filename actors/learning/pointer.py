"""The cheaper way to call a tool: a sentence encoder that points at the words of each argument.

    metier train pointer --team cluster/teams/trip --start cluster/teams/general-tools --out DIRECTORY

It learns the lessons that an adapter learns (`adapter.py`), from the same prompts; `engines/pointing.py` says how it
answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoTokenizer

from ..engines import reading
from ..engines.pointing import Pointer, Scores
from ..engines.reading import Place, Reading
from . import card, command, descent, manifest
from .adapter import save
from .heads import Tuning, adapted, batches
from .lessons import Lesson


class Recipe(Tuning, frozen=True, kw_only=True):
    """How the encoder is trained."""

    #: Lessons made of the team's sentences, and how often each call written by hand is learned.
    lessons: int = 1_200
    spoken: int = 1
    rank: int = 32
    alpha: int = 64
    batch: int = 16
    epochs: int = 3
    learning_rate: float = 1e-3
    head_rate: float = 1e-3
    dropout: float = 0.0
    #: Added to the score of calling none of the tools, once it has learned: chosen so that few right calls are refused.
    refusal: float = 0.0
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


class Aim(msgspec.Struct, frozen=True):
    """A lesson as the encoder learns it: which tool, and where the value of each argument stands."""

    reading: Reading
    #: The place of the tool among those offered; that after the last for none.
    tool: int
    #: By the place of an argument in its tool: of each part of its value, the places it may have.
    values: dict[int, list[list[Place]]]


def aim(lesson: Lesson) -> Aim:
    """A lesson's aim. What its call says and nothing shows is left out."""
    read = reading.read(lesson.turns)
    call = msgspec.json.decode(lesson.call)
    names = [tool.name for tool in read.tools]
    if "tool" in call and call["tool"] is None:
        return Aim(read, len(names), {})
    name, arguments = (call["tool"], call["arguments"]) if call.keys() == {"tool", "arguments"} else (names[0], call)
    tool = names.index(name)
    values: dict[int, list[list[Place]]] = {}
    for at, slot in enumerate(read.tools[tool].slots):
        value = arguments.get(slot.name)
        parts = value if isinstance(value, list) else [value]
        found = [places for part in parts if (places := reading.places(read, slot, part))]
        if found:
            values[at] = found
    return Aim(read, tool, values)


def loss(pointer: Pointer, batch: Sequence[Aim]) -> torch.Tensor:
    """Cross entropy of the tools, and of where values begin and end, whichever of their places that is; each part of a
    list has its share."""
    tools, ends, shares = list[torch.Tensor](), list[torch.Tensor](), list[float]()
    for each, scores in zip(batch, pointer([each.reading for each in batch]), strict=True):
        tools.append(-scores.tools[each.tool])
        sought = [part for at, parts in each.values.items() for part in _sought(scores, each, at, parts)]
        if sought:
            right = torch.zeros(len(sought), *scores.ends.shape[1:], dtype=torch.bool, device="cpu")
            for place, (_, _, pairs) in enumerate(sought):
                for first, last in pairs:
                    right[place, 0, first] = right[place, 1, last] = True
            rows = scores.ends[torch.tensor([row for row, _, _ in sought])]
            ends.append(rows.masked_fill(~right.to(rows.device), float("-inf")).logsumexp(-1).mean(-1))
            shares += [share for _, share, _ in sought]
    found = torch.stack(tools).mean()
    if ends:
        weights = torch.tensor(shares)
        found = found - (torch.cat(ends) * weights).sum() / weights.sum()
    return found


def _sought(
    scores: Scores, aim: Aim, at: int, parts: Sequence[Sequence[Place]]
) -> list[tuple[int, float, list[tuple[int, int]]]]:
    """Of each part of an argument's value: the argument's row, the part's share, and where it may begin and end."""
    row = scores.first(aim.reading.tools[aim.tool]) + at
    found = [[pair for place in places if (pair := scores.tokens(place))] for places in parts]
    found = [pairs for pairs in found if pairs]
    return [(row, 1 / len(found), pairs) for pairs in found]


def adapt(base: Path, recipe: Recipe, start: Path | None = None) -> Pointer:
    """The base encoder with a fresh adapter and fresh heads, or with those of an earlier run."""
    pointer = Pointer(adapted(base, recipe), AutoTokenizer.from_pretrained(base)).to(torch.get_default_device())
    if start is not None:
        weights = load_file(start / "adapter" / "adapter_model.safetensors")
        set_peft_model_state_dict(pointer.encoder, weights)
        pointer.take(start)
        # It learns what fits; how readily it refuses is added when it has.
        pointer.refusal = 0.0
    return pointer


def steps(given: Sequence[Lesson], recipe: Recipe) -> list[list[Aim]]:
    """What is learned in each step: lessons of about one length."""
    aims = [aim(lesson) for lesson in given]
    return [
        batch
        for epoch in range(recipe.epochs)
        for batch in batches(aims, recipe.batch, f"{recipe.seed}/{epoch}", lambda aim: len(aim.reading.about))
    ]


def run(
    base: str,
    directory: Path,
    given: Sequence[Lesson],
    out: Path,
    recipe: Recipe,
    start: Path | None,
    described: manifest.Data,
    told: str = "",
) -> None:
    """Trains on lessons, and writes adapter and heads with their manifest; `told` is the command that does it again."""
    plan = steps(given, recipe)
    pointer = adapt(directory, recipe, start)
    heads = list(pointer.heads.parameters())
    inner = [weight for weight in pointer.encoder.parameters() if weight.requires_grad]
    before = manifest.read(start) if start else None
    begun = time.monotonic()
    pointer.train()
    losses = descent.descend(
        [descent.Group(inner, recipe.learning_rate), descent.Group(heads, recipe.head_rate)],
        plan,
        lambda batch: loss(pointer, batch),
        descent.Course(warmup=recipe.warmup, decay=0.01, kept=50),
        out,
        (base, recipe, described, before),
    )
    save(pointer.encoder, base, out / "adapter")
    pointer.refusal = recipe.refusal
    pointer.write(out)
    card.finish(
        out,
        base,
        recipe,
        begun,
        command=told,
        data=[described],
        steps=len(plan),
        metrics={"loss.last": descent.last(losses)},
        start=before,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    command.learn("pointer", __doc__, "multilingual-e5-small", Recipe, run, arguments)


if __name__ == "__main__":
    main()
