"""One LoRA adapter for a team's tool calls: requests in, calls out, the words copied as they were said.

    python -m metier.actors.learning.adapter --team cluster/teams/trip --base smollm2-135m-instruct --out DIRECTORY

Hu et al., LoRA (arXiv 2106.09685). The loss is on the call alone; prompts are those that serving makes.
"""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from ..engines.base import Turn
from ..engines.sources import find, parse
from ..engines.transformers import prompt_ids
from ..prompts import call_prompt, call_text
from ..tools.base import Request
from . import manifest
from .examples import Example, Phrasebook, Team, generate

_log = logging.getLogger(__name__)

#: Of the requests: asks for one specialist, for two, whole trips.
WEIGHTS = {"1": 0.62, "2": 0.1, "3+": 0.28}


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How an adapter is trained."""

    seed: int = 7
    lessons: int = 2_000
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    batch: int = 4
    learning_rate: float = 6e-4
    warmup: float = 0.05
    clip: float = 1.0
    #: Steps between two copies of the adapter.
    checkpoint: int = 100


class Lesson(msgspec.Struct, frozen=True):
    """One prompt and the call it should bring."""

    specialist: str
    turns: tuple[Turn, ...]
    call: str


class Tokens(msgspec.Struct, frozen=True):
    """A lesson as a model reads it."""

    ids: list[int]
    #: How many of them are the prompt.
    prompt: int


def lessons(team: Team, examples: Sequence[Example], limit: int, seed: int) -> list[Lesson]:
    """Lessons of examples: of each request the two specialists that were taught least, so that requests vary more."""
    rng = random.Random(f"{seed}/lessons")
    taught: Counter[str] = Counter()
    made: list[Lesson] = []
    for example in examples:
        for name in sorted(example.calls, key=lambda name: (taught[name], rng.random()))[:2]:
            taught[name] += 1
            made.append(lesson(team, example, name))
    return made[:limit]


def lesson(team: Team, example: Example, name: str) -> Lesson:
    """What one specialist learns from an example."""
    offers = [team.specialists[name].offer(example.text)]
    prompt = call_prompt(offers, Request(text=example.text, today=dt.date.min), None)
    call = example.calls[name]
    return Lesson(name, prompt.turns, call_text(offers, call.tool, call.arguments))


def tokens(tokenizer: PreTrainedTokenizerBase, lesson: Lesson) -> Tokens:
    """Prompt and call as token ids; the call ends with the end of the turn."""
    prompt = prompt_ids(tokenizer, lesson.turns)
    call = tokenizer(lesson.call + str(tokenizer.eos_token), add_special_tokens=False)["input_ids"]
    return Tokens(prompt + list(call), len(prompt))


def batches(items: Sequence[Tokens], size: int, seed: int) -> list[list[Tokens]]:
    """Batches of about equal lengths, in random order."""
    rng = random.Random(f"{seed}/batches")
    made: list[list[Tokens]] = []
    for start in range(0, len(items), size * 32):
        block = sorted(items[start : start + size * 32], key=lambda item: len(item.ids))
        made += [list(block[at : at + size]) for at in range(0, len(block), size)]
    rng.shuffle(made)
    return made


def loss_of(model: Any, batch: Sequence[Tokens]) -> torch.Tensor:
    """Cross entropy over the tokens of the calls. The vocabulary's scores are made for those tokens only."""
    width = max(len(item.ids) for item in batch)
    ids = torch.tensor([item.ids + [0] * (width - len(item.ids)) for item in batch])
    mask = torch.tensor([[1] * len(item.ids) + [0] * (width - len(item.ids)) for item in batch])
    # Position i predicts token i + 1: from the last of the prompt to the last but one.
    said = torch.tensor([[item.prompt - 1 <= at < len(item.ids) - 1 for at in range(width)] for item in batch])
    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    hidden = causal.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    scores = causal.lm_head(hidden[said])
    return functional.cross_entropy(scores, ids[:, 1:][said[:, :-1]])


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate: a linear rise, then a cosine to a twentieth."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def train(
    model: Any, plan: Sequence[Sequence[Tokens]], recipe: Recipe, checkpoint: Callable[[int], None]
) -> list[float]:
    """Trains an adapter over batches; returns the loss of each step."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    losses: list[float] = []
    started, read = time.monotonic(), 0
    model.train()
    for step, batch in enumerate(plan):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, len(plan), recipe.warmup)
        loss = loss_of(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        read += sum(len(item.ids) for item in batch)
        if (step + 1) % 20 == 0:
            mean = sum(losses[-20:]) / 20
            _log.info("step %d of %d, loss %.4f, %.0f tokens/s", step + 1, len(plan), mean, read / _since(started))
        if (step + 1) % recipe.checkpoint == 0:
            checkpoint(step + 1)
    return losses


def adapt(base: Path, recipe: Recipe, start: Path | None = None) -> Any:
    """The base model with a fresh adapter, or one to go on with."""
    torch.manual_seed(recipe.seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if start is not None:
        return PeftModel.from_pretrained(model, start, is_trainable=True)
    config = LoraConfig(
        r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(recipe.targets), task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def save(model: Any, base: str, folder: Path) -> None:
    """Writes an adapter as PEFT reads it, in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.half().contiguous() for name, weight in get_peft_model_state_dict(model).items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config[model.active_adapter]
    described = config.to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in described.items()}
    (folder / "adapter_config.json").write_bytes(msgspec.json.format(msgspec.json.encode(plain)) + b"\n")


def run(
    team: Path, base: str, out: Path, recipe: Recipe, start: Path | None = None, directory: Path | None = None
) -> None:
    """Makes the examples, trains, and writes the adapter with its manifest."""
    directory = directory or find(parse(base))
    book = Phrasebook.read(team / "training")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    examples = generate(book, recipe.lessons, "train", recipe.seed, WEIGHTS)
    taught = lessons(book.team, examples, recipe.lessons, recipe.seed)
    plan = batches([tokens(tokenizer, lesson) for lesson in taught], recipe.batch, recipe.seed)
    model = adapt(directory, recipe, start)
    started = time.monotonic()
    losses = train(model, plan, recipe, lambda step: save(model, base, out))
    save(model, base, out)
    manifest.Manifest(
        name=out.name,
        base=base,
        seed=recipe.seed,
        data=[manifest.data(f"{team.name}/training", taught, "Apache-2.0")],
        recipe=msgspec.to_builtins(recipe),
        steps=len(plan),
        tokens=sum(len(item.ids) for batch in plan for item in batch),
        seconds=round(_since(started), 1),
        device=f"cpu, {torch.get_num_threads()} threads",
        versions=manifest.versions(),
        trained=dt.datetime.now(dt.UTC).replace(microsecond=0),
        metrics={"loss.last": round(sum(losses[-50:]) / len(losses[-50:]), 4)},
    ).write(out)


def _since(started: float) -> float:
    return time.monotonic() - started


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--team", type=Path, required=True, help="the team's folder")
    parser.add_argument("--base", default="smollm2-135m-instruct", help="the model to adapt")
    parser.add_argument("--base-directory", type=Path, help="where it lies, if not among the models that were pulled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="an adapter to go on with")
    parser.add_argument("--threads", type=int, default=0, help="of torch; one is best on a busy machine")
    parser.add_argument("--recipe", default="{}", help="settings that differ from the usual ones, as JSON")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = msgspec.json.decode(options.recipe, type=Recipe)
    run(options.team, options.base, options.out, recipe, options.start, options.base_directory)


if __name__ == "__main__":
    main()
