"""Heads that tell which one of many intents a sentence has, or that it has none of them.

    python -m metier.actors.learning.intents --data DIRECTORY --out DIRECTORY

The data are `train.jsonl`, `val.jsonl` and `test.jsonl` with `text`, `intent` and `oos` (none of the intents), as in
CLINC150 (Larson et al. 2019, arXiv 1909.02027). Known sentences are learned by cross entropy; those without an intent
should leave all labels equally likely (outlier exposure, Hendrycks et al. 2018, arXiv 1812.04606), and are told by
their free energy. More of those may lie in `oos_plus_train_extra.jsonl`. With `teachers` in the recipe, as many are
trained first, and what they say of a sentence is learned beside its label.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import torch
from torch.nn import functional

from ..engines.encoder import EncoderSettings, Heads, RouterEncoder
from ..engines.sources import parse
from . import card, command, heads, manifest, teachers
from .evaluation.intents import Judged, Sentence, figures, judge, read
from .examples import Example
from .heads import Tuning

_log = logging.getLogger(__name__)


class Recipe(Tuning, frozen=True, kw_only=True):
    """How the heads are trained."""

    scale: float = 8.0
    batch: int = 32
    epochs: int = 4
    learning_rate: float = 4e-4
    #: What a sentence without an intent counts.
    outliers: float = 0.5
    #: So many are trained first, each from a seed of its own; what they say counts so much of what is learned, and they
    #: are asked about sentences that so many of the words were left out of, too.
    teachers: int = 0
    taught: float = 0.7
    thinned: float = 0.15
    #: Of the known sentences of `val.jsonl`, so many are to be told right and not taken for open.
    kept: float = 0.96


def loss(
    router: heads.Router, recipe: Recipe, told: Mapping[str, torch.Tensor], batch: Sequence[Example]
) -> torch.Tensor:
    """Cross entropy with the label of what is known, with no label more likely than another for the rest, and with what
    the teachers told of a text, if they did."""
    places = {name: at for at, name in enumerate(router.labels)}
    logits = router([example.text for example in batch])[:, :-1]
    wanted = torch.full_like(logits, 1 / len(places))
    for row, example in enumerate(batch):
        if not example.open:
            wanted[row] = functional.one_hot(torch.tensor(places[example.labels[0]]), len(places))
        if example.text in told:
            wanted[row] = wanted[row].lerp(told[example.text].to(wanted), recipe.taught)
    weights = torch.tensor([recipe.outliers if example.open else 1.0 for example in batch])
    return (functional.cross_entropy(logits, wanted, reduction="none") * weights).sum() / len(batch)


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


def intents_of(examples: Sequence[Example]) -> list[str]:
    """The intents that examples have, in the order of the heads."""
    return sorted({example.labels[0] for example in examples if not example.open})


def tune(
    examples: Sequence[Example],
    told: Mapping[str, torch.Tensor],
    val: Sequence[Sentence],
    base: tuple[str, Path],
    out: Path,
    recipe: Recipe,
) -> int:
    """Trains heads of a base, its name and where it lies, and writes them; returns the number of steps."""
    labels = intents_of(examples)
    router = heads.adapt(base[1], labels, recipe)
    learned = partial(loss, router, recipe, told)
    identity = (base[0], recipe, examples, sorted(told))
    steps = heads.train(router, examples, lambda each: len(each.text), learned, out, identity)
    temperature, energy, slope = fitted(router, val, recipe)
    about = Heads(
        labels=labels,
        kind="one",
        version=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        base_sha256=parse(base[0]).sha256,
        prefix=recipe.prefix,
        layers=recipe.layers,
        scale=recipe.scale,
        temperature=temperature,
        energy=energy,
        energy_slope=slope,
    )
    heads.write(router, out, base[0], about)
    return steps


def teach(
    examples: Sequence[Example], val: Sequence[Sentence], base: tuple[str, Path], out: Path, recipe: Recipe
) -> list[heads.Router]:
    """The teachers, each trained from a seed of its own, or read where an earlier run came so far."""
    routers: list[heads.Router] = []
    for seed in range(recipe.seed + 1, recipe.seed + 1 + recipe.teachers):
        settings = msgspec.structs.replace(recipe, seed=seed, teachers=0)
        folder, told = out / str(seed), msgspec.json.encode(settings)
        done = folder / "recipe.json"
        if not done.exists() or done.read_bytes() != told:
            _log.info("training the teacher of seed %d", seed)
            tune(examples, {}, val, base, folder, settings)
            done.write_bytes(told)
        routers.append(heads.adapt(base[1], intents_of(examples), settings, folder))
    return routers


def run(folder: Path, base: str, directory: Path, out: Path, recipe: Recipe, told: str = "") -> None:
    """Tunes on `train.jsonl`, chooses on `val.jsonl`, tests on `test.jsonl`, and writes all with its manifest."""
    train, val, test = (read(folder / f"{part}.jsonl") for part in ("train", "val", "test"))
    more = folder / "oos_plus_train_extra.jsonl"
    train += read(more) if more.exists() else []
    examples = [sentence.example for sentence in train]
    begun = time.monotonic()
    said: dict[str, torch.Tensor] = {}
    if recipe.teachers:
        routers = teach(examples, val, (base, directory), out / "teachers", recipe)
        examples = [*examples, *teachers.thinned(examples, recipe.thinned, recipe.seed)]
        said = teachers.opinions(routers, examples)
    steps = tune(examples, said, val, (base, directory), out, recipe)
    shutil.rmtree(out / "teachers", ignore_errors=True)
    found = figures(asyncio.run(_served(directory, out, test)), recipe.seed)
    card.finish(
        out,
        base,
        recipe,
        begun,
        command=told,
        data=[manifest.data(f"{folder.name}, train", train, "CC BY 3.0")],
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
