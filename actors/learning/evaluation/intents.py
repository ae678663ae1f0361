"""How well heads tell intents apart, and what has none of them; measured through the engine that serves them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ...engines.base import Encoder
from .. import files, measures
from ..examples import Example
from ..measures import Figure
from .report import FREQUENT, NEAREST, TRAINED, Row

DATA = "CLINC150"
#: Measure: must, aim, and whether less is better.
DEMANDS: dict[str, tuple[float, float, bool]] = {
    "accuracy": (0.965, 0.973, False),
    "OOS AUROC": (0.982, 0.988, False),
    "OOS FPR at 95": (0.07, 0.05, True),
    "OOS recall at the line": (0.82, 0.88, False),
    "accuracy at the line": (0.955, 0.955, False),
    "ECE": (0.02, 0.01, True),
}


class Sentence(msgspec.Struct, frozen=True):
    """One line of the data."""

    text: str
    intent: str
    #: Whether it has none of the intents.
    oos: bool = False

    @property
    def example(self) -> Example:
        """As it is learned."""
        labels = () if self.oos else (self.intent,)
        return Example(text=self.text, labels=labels, open=self.oos, source="intents")


class Judged(msgspec.Struct, frozen=True):
    """What heads make of a sentence."""

    #: Whether it has an intent, and whether the likeliest label is it.
    known: bool
    hit: bool
    #: Of the likeliest label, and of having no intent; 0.5 is the line.
    chance: float
    open: float


def read(path: Path) -> list[Sentence]:
    """The sentences of a file. Raises InvalidInput."""
    return files.lines(path, Sentence, "sentences with their intents")


async def judge(encoder: Encoder, sentences: Sequence[Sentence]) -> list[Judged]:
    """What an encoder that is loaded makes of sentences."""
    room = asyncio.Semaphore(16)

    async def one(sentence: Sentence) -> Judged:
        async with room:
            routing = await encoder.route(sentence.text)
        name, chance = max(routing.specialists.items(), key=lambda pair: pair[1])
        return Judged(not sentence.oos, name == sentence.intent, chance, routing.open)

    return list(await asyncio.gather(*(one(sentence) for sentence in sentences)))


def figures(judged: Sequence[Judged], seed: int) -> dict[str, Figure]:
    """Accuracy, how well what has no intent is told, and calibration."""
    known = [each for each in judged if each.known]
    unknown = [each for each in judged if not each.known]
    opens = [(each.open, not each.known) for each in judged]
    return {
        "accuracy": measures.mean([float(each.hit) for each in known], seed=seed),
        "OOS AUROC": measures.drawn(measures.auroc, opens, seed),
        "OOS FPR at 95": measures.drawn(measures.false_positives, opens, seed),
        "OOS recall at the line": measures.mean([float(each.open > 0.5) for each in unknown], seed=seed),
        "accuracy at the line": measures.mean([float(each.hit and each.open <= 0.5) for each in known], seed=seed),
        "ECE": measures.drawn(measures.calibration_error, [(each.chance, each.hit) for each in known], seed),
    }


async def rows(sentences: Sequence[Sentence], trained: Encoder, nearest: Encoder, seed: int) -> list[Row]:
    """The figures of all arms."""
    usual = [Judged(not each.oos, False, 0.0, 0.0) for each in sentences]
    made: list[Row] = []
    for arm, judged in (
        (FREQUENT, usual),
        (NEAREST, await judge(nearest, sentences)),
        (TRAINED, await judge(trained, sentences)),
    ):
        for measure, figure in figures(judged, seed).items():
            must, aim, less = DEMANDS[measure] if arm == TRAINED else (None, None, False)
            made.append(
                Row(task="intents", data=DATA, arm=arm, measure=measure, figure=figure, must=must, aim=aim, less=less)
            )
    return made
