"""A sentence encoder with heads, and how both are tuned: a LoRA of the encoder, and linear heads on its embedding."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertModel

from ..engines.encoder import Heads, embed, shortened, tokenize
from . import descent
from .adapter import as_peft_reads, save
from .examples import Example
from .scores import Scores

Item = TypeVar("Item")


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """How an encoder is tuned."""

    seed: int = 7
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ("query", "key", "value", "dense")
    #: Of the encoder's layers, those that are run; 0 for all.
    layers: int = 0
    #: Put before each text.
    prefix: str = ""
    scale: float = 16.0
    batch: int = 16
    epochs: int = 2
    learning_rate: float = 8e-4
    head_rate: float = 5e-3
    warmup: float = 0.05
    dtype: Literal["float32", "bfloat16"] = "float32"
    #: Share of the states that are left out while it learns. torch multiplies attention fast only where it is 0.
    dropout: float = 0.1


class Router(torch.nn.Module):
    """Encoder and heads. Scores `[batch, labels + 1]`, the open one last."""

    def __init__(self, encoder: Any, tokenizer: Any, labels: Sequence[str], tuning: Tuning) -> None:
        super().__init__()
        size = encoder.config.hidden_size
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.labels = tuple(labels)
        self.tuning = tuning
        self.specialists = torch.nn.Linear(size, len(labels))
        self.open = torch.nn.Linear(size, 1)
        self.private = torch.nn.Linear(size, 1)

    def forward(self, texts: Sequence[str]) -> torch.Tensor:
        """The scores of texts."""
        return self.judge(self.embed(texts))

    def embed(self, texts: Sequence[str]) -> torch.Tensor:
        """The embeddings of texts `[batch, H]`, of length one."""
        return embed(self.encoder, tokenize(self.tokenizer, texts, self.tuning.prefix)).float()

    def confide(self, embeddings: torch.Tensor) -> torch.Tensor:
        """How private the texts of embeddings are, logits `[batch]`."""
        found: torch.Tensor = self.private(embeddings * self.tuning.scale)
        return found.squeeze(-1)

    def judge(self, embeddings: torch.Tensor) -> torch.Tensor:
        """The scores of embeddings."""
        scaled = embeddings * self.tuning.scale
        return torch.cat([self.specialists(scaled), self.open(scaled)], dim=-1)


def adapt(base: Path, labels: Sequence[str], tuning: Tuning, start: Path | None = None) -> Router:
    """The base encoder with a fresh adapter and fresh heads, or with those that an earlier run wrote."""
    router = Router(adapted(base, tuning), AutoTokenizer.from_pretrained(base), labels, tuning)
    if start is not None:
        _take(router, start)
    return router


def _take(router: Router, start: Path) -> None:
    set_peft_model_state_dict(router.encoder, load_file(start / "adapter" / "adapter_model.safetensors"))
    weights = load_file(start / "heads.safetensors")
    for name in ("specialists", "open", "private"):
        if f"{name}.weight" in weights:
            head: torch.nn.Linear = getattr(router, name)
            head.load_state_dict({"weight": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]})


def blend(router: Router, start: Path, share: float) -> None:
    """Moves all that was learned towards what an earlier run wrote, by a share of the way."""
    learned = {name: weight for name, weight in router.named_parameters() if weight.requires_grad}
    later = {name: weight.detach().clone() for name, weight in learned.items()}
    _take(router, start)
    with torch.no_grad():
        for name, weight in learned.items():
            weight.lerp_(later[name], 1 - share)


def adapted(base: Path, tuning: Tuning) -> Any:
    """The base encoder, as many layers as are run, with a fresh adapter, on torch's default device."""
    torch.manual_seed(tuning.seed)
    with torch.device("cpu"):
        encoder = BertModel.from_pretrained(
            base,
            add_pooling_layer=False,
            dtype=getattr(torch, tuning.dtype),
            attention_probs_dropout_prob=tuning.dropout,
            hidden_dropout_prob=tuning.dropout,
        )
    encoder = shortened(encoder, tuning.layers).to(torch.get_default_device())
    lora = LoraConfig(r=tuning.rank, lora_alpha=tuning.alpha, target_modules=list(tuning.targets))
    with as_peft_reads():
        return get_peft_model(encoder, lora)


def targets(examples: Sequence[Example], labels: Sequence[str]) -> torch.Tensor:
    """What the scores should be, `[batch, labels + 1]`, 0 or 1."""
    return torch.tensor(
        [[float(name in example.labels) for name in labels] + [float(example.open)] for example in examples]
    )


def known(examples: Sequence[Example], labels: Sequence[str]) -> torch.Tensor:
    """Where that is known, `[batch, labels + 1]`, 0 or 1."""
    return torch.tensor([[float(name not in example.unsaid) for name in labels] + [1.0] for example in examples])


def batches(items: Sequence[Item], size: int, seed: str, length: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Batches of about equal lengths, in random order."""
    rng = random.Random(seed)
    shuffled = rng.sample(items, len(items))
    made: list[list[Item]] = []
    for start in range(0, len(shuffled), size * 32):
        block = sorted(shuffled[start : start + size * 32], key=length)
        made += [block[at : at + size] for at in range(0, len(block), size)]
    rng.shuffle(made)
    yield from made


def train(
    router: Router,
    items: Sequence[Item],
    length: Callable[[Item], int],
    loss: Callable[[Sequence[Item]], torch.Tensor],
    out: Path,
    identity: object,
) -> int:
    """Tunes encoder and heads to the loss of batches; returns the number of steps. Raises InvalidInput."""
    tuning = router.tuning
    heads = [*router.specialists.parameters(), *router.open.parameters(), *router.private.parameters()]
    inner = [weight for weight in router.encoder.parameters() if weight.requires_grad]
    plan = [
        batch
        for epoch in range(tuning.epochs)
        for batch in batches(items, tuning.batch, f"{tuning.seed}/{epoch}", length)
    ]
    router.train()
    descent.descend(
        [descent.Group(inner, tuning.learning_rate), descent.Group(heads, tuning.head_rate)],
        plan,
        loss,
        descent.Course(warmup=tuning.warmup, decay=0.01, told=50, kept=200),
        out,
        identity,
    )
    return len(plan)


def score(router: Router, examples: Sequence[Example]) -> Scores:
    """The scores of held-out examples beside what they should be."""
    router.eval()
    order = sorted(range(len(examples)), key=lambda at: len(examples[at].text))
    logits = torch.zeros(len(examples), len(router.labels) + 1)
    with torch.inference_mode():
        for start in range(0, len(order), 32):
            places = order[start : start + 32]
            logits[places] = router([examples[at].text for at in places])
    return Scores(labels=router.labels, logits=logits, truth=targets(examples, router.labels))


def centre(router: Router, thresholds: Mapping[str, float], dev: Scores) -> None:
    """Moves the biases so that each threshold comes to lie at one half: a team's router has one threshold for all."""
    shifts = torch.tensor([math.log(value / (1 - value)) for value in thresholds.values()])
    with torch.no_grad():
        router.specialists.bias.sub_(shifts[:-1] * dev.temperature)
        router.open.bias.sub_(shifts[-1:] * dev.open_temperature)


def write(router: Router, out: Path, base: str, heads: Heads, private: bool = False) -> None:
    """Writes adapter and heads as `RouterEncoder` reads them, that of what is private if it was learned."""
    out.mkdir(parents=True, exist_ok=True)
    save(router.encoder, base, out / "adapter")
    weights = {"specialists.weight": router.specialists.weight, "specialists.bias": router.specialists.bias}
    if heads.kind == "several":
        weights |= {"open.weight": router.open.weight, "open.bias": router.open.bias}
    if private:
        weights |= {"private.weight": router.private.weight, "private.bias": router.private.bias}
    save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, out / "heads.safetensors")
    (out / "heads.json").write_bytes(msgspec.json.format(msgspec.json.encode(heads)) + b"\n")
