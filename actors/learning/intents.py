"""Heads that tell which one of many intents a sentence has, or that it has none of them.

    python -m metier.actors.learning.intents --data DIRECTORY --out DIRECTORY

The data are `train.jsonl`, `val.jsonl` and `test.jsonl` with `text`, `intent` and `oos` (none of the intents), as in
CLINC150 (Larson et al. 2019, arXiv 1909.02027). Known sentences are learned by cross entropy; those without an intent
should leave all labels equally likely (outlier exposure, Hendrycks et al. 2018, arXiv 1812.04606), and are told by
their free energy. More of those may lie in `oos_plus_train_extra.jsonl`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch.nn import functional

from ..engines.encoder import EncoderSettings, Heads, RouterEncoder
from ..engines.sources import parse
from . import card, command, heads, manifest
from .evaluation.intents import Judged, Sentence, figures, judge, read
from .examples import Example
from .heads import Tuning


class Recipe(Tuning, frozen=True, kw_only=True):
    """How the heads are trained."""

    scale: float = 8.0
    batch: int = 32
    epochs: int = 4
    learning_rate: float = 4e-4
    #: What a sentence without an intent counts.
    outliers: float = 0.5
    #: Of the known sentences of `val.jsonl`, so many are to be told right and not taken for open.
    kept: float = 0.96


def loss(router: heads.Router, recipe: Recipe, batch: Sequence[Example]) -> torch.Tensor:
    """Cross entropy of what is known, and how far the rest is from leaving all labels equally likely."""
    places = {name: at for at, name in enumerate(router.labels)}
    logits = router([example.text for example in batch])[:, :-1]
    known = torch.tensor([not example.open for example in batch])
    total = torch.zeros(())
    if known.any():
        right = torch.tensor([places[example.labels[0]] for example in batch if not example.open])
        total = total + functional.cross_entropy(logits[known], right, reduction="sum")
    if not known.all():
        total = total - recipe.outliers * functional.log_softmax(logits[~known], -1).mean(-1).sum()
    return total / len(batch)


def fitted(router: heads.Router, val: Sequence[Sentence], recipe: Recipe) -> tuple[float, float, float]:
    """Temperature, and the place and slope of the energy that is open: chosen on `val.jsonl`."""
    places = {name: at for at, name in enumerate(router.labels)}
    logits = heads.score(router, [sentence.example for sentence in val]).logits[:, :-1]
    right = torch.tensor([-1 if sentence.oos else places[sentence.intent] for sentence in val])
    known = right >= 0
    temperature = min(
        (0.2 + step / 50 for step in range(190)),
        key=lambda value: float(functional.cross_entropy(logits[known] / value, right[known])),
    )
    energies = -torch.logsumexp(logits / temperature, dim=-1)
    # The lowest line that keeps enough of the known: right, and under it.
    hits = energies[known & (logits.argmax(-1) == right)].sort().values
    line = float(hits[min(len(hits), math.ceil(recipe.kept * int(known.sum()))) - 1])
    slope = min(
        (0.25 * step for step in range(1, 60)),
        key=lambda value: float(
            functional.binary_cross_entropy_with_logits((energies - line) * value, (~known).float())
        ),
    )
    return temperature, line, slope


def run(folder: Path, base: str, directory: Path, out: Path, recipe: Recipe, told: str = "") -> None:
    """Tunes on `train.jsonl`, chooses on `val.jsonl`, tests on `test.jsonl`, and writes all with its manifest."""
    train, val, test = (read(folder / f"{part}.jsonl") for part in ("train", "val", "test"))
    more = folder / "oos_plus_train_extra.jsonl"
    train += read(more) if more.exists() else []
    labels = sorted({sentence.intent for sentence in train if not sentence.oos})
    examples = [sentence.example for sentence in train]
    described = [manifest.data(f"{folder.name}, train", train, "CC BY 3.0")]
    router = heads.adapt(directory, labels, recipe)
    begun = time.monotonic()
    learned = partial(loss, router, recipe)
    steps = heads.train(router, examples, lambda each: len(each.text), learned, out, (base, recipe, described))
    temperature, energy, slope = fitted(router, val, recipe)
    about = Heads(
        labels=labels,
        kind="one",
        version=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        base_sha256=parse(base).sha256,
        prefix=recipe.prefix,
        layers=recipe.layers,
        scale=recipe.scale,
        temperature=temperature,
        energy=energy,
        energy_slope=slope,
    )
    heads.write(router, out, base, about)
    found = figures(asyncio.run(_served(directory, out, test)), recipe.seed)
    card.finish(
        out,
        base,
        recipe,
        begun,
        command=told,
        data=described,
        steps=steps,
        metrics={f"test.{name}": round(figure.value, 4) for name, figure in found.items()},
    )


async def _served(base: Path, out: Path, sentences: Sequence[Sentence]) -> list[Judged]:
    """What the heads make of sentences where they are served."""
    encoder = RouterEncoder(EncoderSettings(path=str(base), heads=str(out), name=out.name))
    await encoder.load()
    try:
        return await judge(encoder, sentences)
    finally:
        await encoder.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    parser = command.parser(__doc__, "all-minilm-l6-v2")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the sentences")
    options = command.begun(parser, arguments)
    recipe = command.recipe(options.recipe, Recipe)
    told = command.again("intents", options)
    run(options.data, options.base, options.base_directory, options.out, recipe, told)


if __name__ == "__main__":
    main()
