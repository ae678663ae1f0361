"""The cheaper way to fill a tool's arguments: a sentence encoder that points at the words of each.

    metier train spans --team cluster/teams/trip --base multilingual-e5-small --out DIRECTORY

Each argument is a question, and the answer is a run of words or nothing: two heads score where it begins and where it
ends, the first token standing for nothing (Devlin et al. 2019, arXiv 1810.04805, section 4.3). One pass reads all
arguments of a tool. It is measured beside the adapters (`metier eval specialist --spans DIRECTORY`), and not served.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import AutoTokenizer, BertModel

from ..engines.dtypes import dtype_of
from ..engines.encoder import shortened
from . import card, command, descent, manifest, spoken
from .adapter import as_peft_reads, save
from .evaluation.calls import Answer, Case
from .examples import Example, Phrasebook, generate
from .heads import Tuning, adapted
from .lessons import WEIGHTS

#: Word pieces of an answer at most.
_LONGEST = 14
_WEIGHTS = "heads.safetensors"


class Recipe(Tuning, frozen=True, kw_only=True):
    """How the encoder is trained."""

    #: Requests made of the team's sentences.
    requests: int = 1_200
    #: How often each request written by hand is learned.
    spoken: int = 2
    layers: int = 6
    prefix: str = "query: "
    #: Questions a step.
    batch: int = 24
    epochs: int = 2
    learning_rate: float = 1e-3
    head_rate: float = 2e-3


class Question(msgspec.Struct, frozen=True):
    """An argument of a tool, asked of a request; where in the text its words are, or None."""

    about: str
    text: str
    place: tuple[int, int] | None


class Pointer(torch.nn.Module):
    """Encoder and heads. Scores `[batch, tokens, 2]` of beginnings and ends; what is no text scores minus infinity."""

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.heads = torch.nn.Linear(encoder.config.hidden_size, 2)

    def forward(self, questions: Sequence[Question]) -> tuple[torch.Tensor, list[list[tuple[int, int]]]]:
        """The scores, and the characters of the text that each token stands for."""
        read = self.tokenizer(
            [question.about for question in questions],
            [question.text for question in questions],
            padding=True,
            truncation="only_second",
            max_length=256,
            return_tensors="pt",
            return_offsets_mapping=True,
        )
        inside = torch.zeros(read["input_ids"].shape, dtype=torch.bool)
        for row in range(len(questions)):
            inside[row] = torch.tensor([part == 1 for part in read.sequence_ids(row)])
        inside[:, 0] = True
        inputs = {name: read[name] for name in ("input_ids", "attention_mask")}
        scores = self.heads(self.encoder(**inputs).last_hidden_state.float())
        return scores.masked_fill(~inside[..., None], -1e4), read["offset_mapping"].tolist()


def questions(example: Example) -> list[Question]:
    """What is asked of an example: every argument of every tool it calls."""
    return [
        Question(about(name, argument), example.text, _place(example.text, words))
        for name, call in example.calls.items()
        for argument, words in call.arguments.items()
    ]


def about(specialist: str, argument: str) -> str:
    """An argument as the encoder reads it."""
    return f"query: {specialist} {argument.replace('_', ' ')}"


def _place(text: str, words: str | None) -> tuple[int, int] | None:
    found = re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) if words else None
    return found.span() if found else None


def loss(pointer: Pointer, batch: Sequence[Question]) -> torch.Tensor:
    """Cross entropy of where answers begin and end."""
    scores, offsets = pointer(batch)
    places = [_tokens(question.place, row) for question, row in zip(batch, offsets, strict=True)]
    starts, ends = (torch.tensor([place[at] for place in places]) for at in (0, 1))
    return (functional.cross_entropy(scores[..., 0], starts) + functional.cross_entropy(scores[..., 1], ends)) / 2


def _tokens(place: tuple[int, int] | None, offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """First and last token of some characters; the first of all tokens for nothing, and for what was cut off."""
    if place is None:
        return 0, 0
    # Texts come second: the last token that covers a character is the text's.
    covers = [
        at for at, (start, end) in enumerate(offsets) if at and start < place[1] and end > place[0] and end > start
    ]
    first_of_text = max((at for at, (start, end) in enumerate(offsets) if at and start == 0 and end > 0), default=0)
    found = [at for at in covers if at >= first_of_text]
    return (found[0], found[-1]) if found else (0, 0)


def answer(pointer: Pointer, asked: Sequence[Question]) -> list[tuple[str | None, float]]:
    """The words of each answer, None for nothing, with its probability."""
    with torch.inference_mode():
        scores, offsets = pointer(asked)
        chances = scores.log_softmax(dim=1)
    made: list[tuple[str | None, float]] = []
    for question, row, places in zip(asked, chances, offsets, strict=True):
        nothing = float(row[0].sum())
        whole = row[:, None, 0] + row[None, :, 1]
        size = len(row)
        allowed = torch.ones(size, size).triu().tril(_LONGEST - 1).bool()
        allowed[0] = False
        best = whole.masked_fill(~allowed, float("-inf")).flatten().argmax()
        first, last = divmod(int(best), size)
        score = float(whole[first, last])
        if score <= nothing:
            made.append((None, float(torch.tensor(nothing).exp())))
        else:
            words = question.text[places[first][0] : places[last][1]].strip(" .,;:!?\"'«»()")
            made.append((words or None, float(torch.tensor(score).exp())))
    return made


def answers(pointer: Pointer, cases: Sequence[Case]) -> list[Answer]:
    """What the encoder calls, one case at a time."""
    made: list[Answer] = []
    for case in cases:
        began = time.perf_counter()
        names = list(case.offers[0].schema["properties"])
        found = answer(pointer, [Question(about(case.part, name), case.text, None) for name in names])
        joint = float(torch.tensor([chance for _, chance in found]).prod())
        said = {name: words for name, (words, _) in zip(names, found, strict=True)}
        made.append(Answer((case.offers[0].name, said), joint, joint, time.perf_counter() - began))
    return made


def adapt(base: Path, recipe: Recipe) -> Pointer:
    """The base encoder with a fresh adapter and fresh heads."""
    return Pointer(adapted(base, recipe), AutoTokenizer.from_pretrained(base))


def load(base: Path, folder: Path) -> Pointer:
    """A pointer that was trained, its adapter merged in; it runs on one thread, in what the processor multiplies."""
    torch.set_num_threads(1)
    dtype = getattr(torch, dtype_of("cpu"))
    recipe = msgspec.convert(manifest.read(folder).recipe, Recipe)
    encoder = shortened(BertModel.from_pretrained(base, add_pooling_layer=False, dtype=torch.float32), recipe.layers)
    with as_peft_reads():
        merged: Any = PeftModel.from_pretrained(encoder, folder / "adapter")
    pointer = Pointer(merged.merge_and_unload().to(dtype), AutoTokenizer.from_pretrained(base))
    weights: Mapping[str, torch.Tensor] = load_file(folder / _WEIGHTS)
    pointer.heads.load_state_dict(dict(weights))
    return pointer.eval()


def run(team: Path, base: str, directory: Path, out: Path, recipe: Recipe, told: str = "") -> None:
    """Makes the questions, trains, and writes everything with its manifest."""
    book = Phrasebook.read(team / "training")
    made = generate(book, recipe.requests, "train", recipe.seed, WEIGHTS)
    by_hand = [each.example(book.team) for each in spoken.read(team / "training") if each.split == "train"]
    asked = [question for example in made + by_hand * recipe.spoken for question in questions(example)]
    plan: list[list[Question]] = []
    for epoch in range(recipe.epochs):
        shuffled = random.Random(f"{recipe.seed}/{epoch}").sample(asked, len(asked))
        plan += [shuffled[at : at + recipe.batch] for at in range(0, len(shuffled), recipe.batch)]
    pointer = adapt(directory, recipe)
    described = manifest.data(f"{team.name}/training", asked, "Apache-2.0")
    inner = [weight for weight in pointer.encoder.parameters() if weight.requires_grad]
    groups = [
        descent.Group(inner, recipe.learning_rate),
        descent.Group(list(pointer.heads.parameters()), recipe.head_rate),
    ]
    begun = time.monotonic()
    pointer.train()
    course = descent.Course(warmup=recipe.warmup, decay=0.01, told=50, kept=200)
    losses = descent.descend(groups, plan, lambda batch: loss(pointer, batch), course, out, (base, recipe, described))
    save(pointer.encoder, base, out / "adapter")
    save_file({name: weight.contiguous() for name, weight in pointer.heads.state_dict().items()}, out / _WEIGHTS)
    about_ = manifest.Manifest.of(out, base, recipe, begun, command=told, data=[described], steps=len(plan))
    msgspec.structs.replace(about_, metrics={"loss.last": round(sum(losses[-50:]) / len(losses[-50:]), 4)}).write(out)
    card.write(manifest.read(out), out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    parser = command.parser(__doc__, "multilingual-e5-small")
    parser.add_argument("--team", type=Path, required=True, help="the team's folder")
    options = command.begun(parser, arguments)
    recipe = command.recipe(options.recipe, Recipe)
    run(options.team, options.base, options.base_directory, options.out, recipe, command.again("spans", options))


if __name__ == "__main__":
    main()
