"""One LoRA adapter for a team's tool calls: requests in, calls out, the words copied as they were said.

    python -m metier.actors.learning.adapter --team cluster/teams/trip --base smollm2-135m-instruct --out DIRECTORY

Hu et al., LoRA (arXiv 2106.09685). The loss is on the call alone; prompts are those that serving makes.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import logging
import math
import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from ..engines.sources import find, parse
from ..engines.transformers import dtype_of, prompt_ids
from ..tools.function import load_function
from . import card, manifest
from .examples import Phrasebook, generate
from .lessons import WEIGHTS, Lesson, lessons

_log = logging.getLogger(__name__)


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How an adapter is trained."""

    seed: int = 7
    lessons: int = 2_000
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    #: The first layer that is adapted; those below are left as they are, and need no gradients.
    first_layer: int = 0
    #: Of the base while it is read; the adapter itself learns in float32. "auto" is as in serving.
    dtype: str = "auto"
    #: Lessons a step.
    pack: int = 4
    learning_rate: float = 6e-4
    warmup: float = 0.05
    clip: float = 1.0
    #: Steps between two copies of the adapter.
    checkpoint: int = 100


class Tokens(msgspec.Struct, frozen=True):
    """A lesson as a model reads it."""

    ids: list[int]
    #: How many of them are the prompt.
    prompt: int
    specialist: str = ""


class Pack(msgspec.Struct, frozen=True):
    """Lessons of one specialist in one row: what they share is read once, none sees another. N tokens, C of calls."""

    ids: torch.Tensor  # [1, N]
    positions: torch.Tensor  # [1, N]
    sees: torch.Tensor  # [1, 1, N, N]
    #: Where a token of a call is to be foretold, and which.
    sources: torch.Tensor  # [C]
    targets: torch.Tensor  # [C]


def tokens(tokenizer: PreTrainedTokenizerBase, lesson: Lesson) -> Tokens:
    """Prompt and call as token ids; the call ends with the end of the turn."""
    prompt = prompt_ids(tokenizer, lesson.turns)
    call = tokenizer(lesson.call + str(tokenizer.eos_token), add_special_tokens=False)["input_ids"]
    return Tokens(prompt + list(call), len(prompt), lesson.specialist)


def packs(items: Sequence[Tokens], size: int, seed: int) -> list[Pack]:
    """Packs of a specialist each, in random order."""
    rng = random.Random(f"{seed}/packs")
    made: list[Pack] = []
    for specialist in sorted({item.specialist for item in items}):
        own = [item for item in items if item.specialist == specialist]
        made += [pack(own[at : at + size]) for at in range(0, len(own), size)]
    rng.shuffle(made)
    return made


def pack(items: Sequence[Tokens]) -> Pack:
    """Lessons side by side behind the beginning that their prompts share."""
    shared = _shared(items)
    ids = items[0].ids[:shared]
    positions, parts, sources, targets = list(range(shared)), [0] * shared, list[int](), list[int]()
    for number, item in enumerate(items, start=1):
        # The token before foretells: from the last of the prompt to the last but one.
        sources += [len(ids) + at - shared - 1 for at in range(item.prompt, len(item.ids))]
        targets += item.ids[item.prompt :]
        ids += item.ids[shared:]
        positions += range(shared, len(item.ids))
        parts += [number] * (len(item.ids) - shared)
    part = torch.tensor(parts)
    at = torch.arange(len(ids))
    sees = (at[:, None] >= at) & ((part == 0) | (part[:, None] == part))
    return Pack(
        torch.tensor([ids]), torch.tensor([positions]), sees[None, None], torch.tensor(sources), torch.tensor(targets)
    )


def _shared(items: Sequence[Tokens]) -> int:
    longest = min(item.prompt for item in items) - 1
    first = items[0].ids
    return next((at for at in range(longest) if any(item.ids[at] != first[at] for item in items)), longest)


def loss_of(model: Any, pack: Pack) -> torch.Tensor:
    """Cross entropy over the tokens of the calls. The vocabulary's scores are made for those tokens only."""
    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    read = causal.model(input_ids=pack.ids, position_ids=pack.positions, attention_mask=pack.sees, use_cache=False)
    scores = causal.lm_head(read.last_hidden_state[0, pack.sources])
    return functional.cross_entropy(scores.float(), pack.targets)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Share of the learning rate: a linear rise, then a cosine to a twentieth."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def train(model: Any, plan: Sequence[Pack], recipe: Recipe, checkpoint: Callable[[int], None]) -> list[float]:
    """Trains an adapter over packs; returns the loss of each step."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=recipe.learning_rate, weight_decay=0.0)
    losses: list[float] = []
    started, read = time.monotonic(), 0
    model.train()
    for step, each in enumerate(plan):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step, len(plan), recipe.warmup)
        loss = loss_of(model, each)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        read += each.ids.numel()
        if (step + 1) % 20 == 0:
            mean = sum(losses[-20:]) / 20
            _log.info("step %d of %d, loss %.4f, %.0f tokens/s", step + 1, len(plan), mean, read / _since(started))
        if (step + 1) % recipe.checkpoint == 0:
            checkpoint(step + 1)
    return losses


def adapt(base: Path, recipe: Recipe, start: Path | None = None) -> Any:
    """The base model with a fresh adapter, or one to go on with."""
    torch.manual_seed(recipe.seed)
    dtype = dtype_of("cpu") if recipe.dtype == "auto" else recipe.dtype
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype))
    with as_peft_reads():
        if start is not None:
            return PeftModel.from_pretrained(model, start, is_trainable=True)
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            target_modules=list(recipe.targets),
            layers_to_transform=list(range(recipe.first_layer, model.config.num_hidden_layers)),
            task_type="CAUSAL_LM",
        )
        return get_peft_model(model, config)


@contextlib.contextmanager
def as_peft_reads() -> Iterator[None]:
    """Without the warning that peft 0.21 reads a property which transformers 5.23 has renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
        yield


def save(model: Any, base: str, folder: Path) -> None:
    """Writes an adapter as PEFT reads it, in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    adapted = get_peft_model_state_dict(model)
    weights = {name: weight.half().contiguous() for name, weight in adapted.items()}
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = model.peft_config[model.active_adapter]
    described = config.to_dict() | {"base_model_name_or_path": base, "inference_mode": True}
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in described.items()}
    (folder / "adapter_config.json").write_bytes(msgspec.json.format(msgspec.json.encode(plain)) + b"\n")


def taught(team: Path | None, recipe: Recipe, source: str = "", data: Path | None = None) -> list[Lesson]:
    """The lessons of a run: of a function `(count, seed[, folder])` at "module:name", else of the team's sentences."""
    if source:
        given = (data,) if data else ()
        made: list[Lesson] = load_function(source)(recipe.lessons, recipe.seed, *given)
        return made
    assert team is not None
    book = Phrasebook.read(team / "training")
    examples = generate(book, recipe.lessons, "train", recipe.seed, WEIGHTS)
    return lessons(book.team, examples, recipe.lessons, recipe.seed)


def run(
    base: str,
    directory: Path,
    given: Sequence[Lesson],
    out: Path,
    recipe: Recipe,
    start: Path | None,
    source: str = "lessons of the team's own sentences and sample data",
    licence: str = "Apache-2.0",
) -> None:
    """Trains on lessons, and writes the adapter with its manifest; `source` and `licence` are those of the lessons."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    plan = packs([tokens(tokenizer, lesson) for lesson in given], recipe.pack, recipe.seed)
    model = adapt(directory, recipe, start)
    started = time.monotonic()
    losses = train(model, plan, recipe, lambda step: save(model, base, out))
    save(model, base, out)
    about = manifest.Manifest(
        name=out.name,
        base=base,
        seed=recipe.seed,
        data=[manifest.data(source, given, licence)],
        recipe=msgspec.to_builtins(recipe),
        steps=len(plan),
        tokens=sum(each.ids.numel() for each in plan),
        seconds=round(_since(started), 1),
        device=f"cpu, {torch.get_num_threads()} threads",
        versions=manifest.versions(),
        trained=dt.datetime.now(dt.UTC).replace(microsecond=0),
        metrics={"loss.last": round(sum(losses[-50:]) / len(losses[-50:]), 4)},
        start=manifest.read(start) if start else None,
    )
    about.write(out)
    card.write(manifest.read(out), out)


def _since(started: float) -> float:
    return time.monotonic() - started


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--team", type=Path, help="the team's folder")
    parser.add_argument("--base", default="smollm2-135m-instruct", help="the model to adapt")
    parser.add_argument("--base-directory", type=Path, help="where it lies, if not among the models that were pulled")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lessons", default="", help='a function (count, seed) as "module:name", instead of sentences')
    parser.add_argument("--licence", default="Apache-2.0", help="of what the lessons are made of")
    parser.add_argument("--data", type=Path, help="the folder of a public data set that these lessons are made of")
    parser.add_argument("--start", type=Path, help="an adapter to go on with")
    parser.add_argument("--threads", type=int, default=0, help="of torch; one is best on a busy machine")
    parser.add_argument("--recipe", default="{}", help="settings that differ from the usual ones, as JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = msgspec.json.decode(options.recipe, type=Recipe)
    directory = options.base_directory or find(parse(options.base))
    given = taught(options.team, recipe, options.lessons, options.data)
    about = (f"lessons of {options.lessons}", options.licence) if options.lessons else ()
    run(options.base, directory, given, options.out, recipe, options.start, *about)


if __name__ == "__main__":
    main()
