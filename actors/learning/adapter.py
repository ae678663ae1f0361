"""One LoRA adapter for a team's tool calls: requests in, calls out, the words copied as they were said.

    metier train adapter --team cluster/teams/trip --base smollm2-135m-instruct --out DIRECTORY

Hu et al., LoRA (arXiv 2106.09685). The loss is on the call alone; prompts are those that serving makes.
"""

from __future__ import annotations

import contextlib
import random
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from ..engines.hardware import chosen
from ..engines.reader import prompt_ids
from . import card, command, manifest
from .descent import Course, Group, descend, last
from .lessons import Lesson


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How an adapter is trained."""

    seed: int = 7
    lessons: int = 2_000
    #: How often each call that was written by hand is learned, where the team has any.
    spoken: int = 3
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    #: The first layer that is adapted; those below are left as they are, and need no gradients.
    first_layer: int = 0
    #: Of the base while it is read; the adapter itself learns in float32. "auto" is as in serving.
    dtype: str = "auto"
    #: Lessons a step, and how many steps at most; 0 for as many as there are.
    pack: int = 4
    steps: int = 0
    learning_rate: float = 6e-4
    warmup: float = 0.05
    clip: float = 1.0
    #: Steps between two copies of what a run that was broken off goes on from.
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


def train(model: Any, plan: Sequence[Pack], recipe: Recipe, out: Path, identity: object) -> list[float]:
    """Trains an adapter over packs; returns the loss of each step. Raises InvalidInput."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    model.train()
    return descend(
        [Group(weights, recipe.learning_rate)],
        plan,
        lambda each: loss_of(model, each),
        Course(warmup=recipe.warmup, clip=recipe.clip, kept=recipe.checkpoint),
        out,
        identity,
    )


def adapt(base: Path, recipe: Recipe, start: Path | None = None) -> Any:
    """The base model with a fresh adapter, or one to go on with."""
    torch.manual_seed(recipe.seed)
    device = torch.get_default_device()
    with torch.device("cpu"):
        model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=chosen(recipe.dtype, device.type))
    model = model.to(device)
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
    """Trains on lessons, and writes the adapter with its manifest; `told` is the command that does it again."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    plan = packs([tokens(tokenizer, lesson) for lesson in given], recipe.pack, recipe.seed)
    plan = plan[: recipe.steps or None]
    model = adapt(directory, recipe, start)
    before = manifest.read(start) if start else None
    begun = time.monotonic()
    losses = train(model, plan, recipe, out, (base, recipe, described, before))
    save(model, base, out)
    card.finish(
        out,
        base,
        recipe,
        begun,
        command=told,
        data=[described],
        steps=len(plan),
        tokens=sum(each.ids.numel() for each in plan),
        metrics={"loss.last": last(losses)},
        start=before,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    command.learn("adapter", __doc__, "smollm2-135m-instruct", Recipe, run, arguments)


if __name__ == "__main__":
    main()
