"""The router's encoder: a LoRA of a sentence encoder, and heads that say who is needed and what is open.

    python -m metier.actors.learning.router --team cluster/teams/trip --base all-minilm-l6-v2 --out DIRECTORY

Several specialists may be needed at once, so each has a logistic score of its own (binary cross entropy).
"""

from __future__ import annotations

import argparse
import datetime as dt
import logging
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.nn import functional
from transformers import AutoTokenizer, BertModel

from ..engines.encoder import Heads, embed, tokenize
from ..engines.sources import find, parse
from . import card, manifest
from .adapter import as_peft_reads, save, schedule
from .asks import Asks
from .examples import OPEN, Example, Phrasebook, generate, public
from .scores import Scores, fit_temperature, fit_thresholds, metrics
from .sets import sgd

_log = logging.getLogger(__name__)

#: Of the requests: for one specialist, for two, whole trips, open ones.
WEIGHTS = {"1": 0.34, "2": 0.12, "3+": 0.24, OPEN: 0.3}
#: Intents of CLINC150 that specialists serve; all others but the doubtful are open.
INTENTS = {
    "book_flight": ("flights",),
    "book_hotel": ("hotels",),
    "restaurant_suggestion": ("restaurants",),
    "weather": ("weather",),
}
#: Domains of the Schema-Guided Dialogue set, and who serves them.
DOMAINS = {
    "flights": "flights",
    "hotels": "hotels",
    "attractions": "guide",
    "restaurants": "restaurants",
    "weather": "weather",
    "calendar": "calendar",
}
DOUBTFUL = (
    "travel_suggestion", "restaurant_reservation", "cancel_reservation", "confirm_reservation", "accept_reservations",
    "restaurant_reviews", "how_busy", "flight_status", "calendar", "calendar_update", "schedule_meeting",
    "meeting_schedule", "reminder", "reminder_update", "date", "next_holiday", "travel_alert",
)  # fmt: skip


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """How the encoder is trained."""

    seed: int = 7
    requests: int = 5_000
    #: Whether the sentences that are for the router alone are learned too.
    routes: bool = False
    #: Requests joined of asks, where the team has asks.
    asks: int = 5_000
    #: Of CLINC150, and of what people say first in the Schema-Guided Dialogue set for each specialist, where they are
    #: at hand.
    public: int = 2_200
    said: int = 150
    #: Each of dev and test.
    held_out: int = 800
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ("query", "key", "value", "dense")
    scale: float = 16.0
    batch: int = 16
    epochs: int = 2
    learning_rate: float = 8e-4
    head_rate: float = 5e-3
    warmup: float = 0.05


class Router(torch.nn.Module):
    """Encoder and heads. Scores `[batch, labels + 1]`, the open one last."""

    def __init__(self, encoder: Any, size: int, labels: int, scale: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.specialists = torch.nn.Linear(size, labels)
        self.open = torch.nn.Linear(size, 1)
        self.scale = scale

    def forward(self, inputs: Any) -> torch.Tensor:
        """The scores of texts."""
        embedding = embed(self.encoder, inputs) * self.scale
        return torch.cat([self.specialists(embedding), self.open(embedding)], dim=-1)


def adapt(base: Path, labels: int, recipe: Recipe) -> Router:
    """The base encoder with a fresh adapter and fresh heads."""
    torch.manual_seed(recipe.seed)
    encoder = BertModel.from_pretrained(base, add_pooling_layer=False)
    lora = LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(recipe.targets))
    with as_peft_reads():
        return Router(get_peft_model(encoder, lora), encoder.config.hidden_size, labels, recipe.scale)


def targets(examples: Sequence[Example], labels: Sequence[str]) -> torch.Tensor:
    """What the scores should be, `[batch, labels + 1]`, 0 or 1."""
    return torch.tensor(
        [[float(name in example.labels) for name in labels] + [float(example.open)] for example in examples]
    )


def batches(examples: Sequence[Example], size: int, seed: str) -> Iterator[list[Example]]:
    """Batches of about equal lengths, in random order."""
    rng = random.Random(seed)
    shuffled = rng.sample(examples, len(examples))
    made: list[list[Example]] = []
    for start in range(0, len(shuffled), size * 32):
        block = sorted(shuffled[start : start + size * 32], key=lambda example: len(example.text))
        made += [block[at : at + size] for at in range(0, len(block), size)]
    rng.shuffle(made)
    yield from made


def train(router: Router, tokenizer: Any, examples: Sequence[Example], labels: Sequence[str], recipe: Recipe) -> int:
    """Trains encoder and heads; returns the number of steps."""
    heads = [*router.specialists.parameters(), *router.open.parameters()]
    inner = [weight for weight in router.encoder.parameters() if weight.requires_grad]
    rates = [recipe.learning_rate, recipe.head_rate]
    optimizer = torch.optim.AdamW([{"params": inner}, {"params": heads}], lr=rates[0], weight_decay=0.01)
    plan = [
        batch for epoch in range(recipe.epochs) for batch in batches(examples, recipe.batch, f"{recipe.seed}/{epoch}")
    ]
    router.train()
    recent: list[float] = []
    for step, batch in enumerate(plan):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * schedule(step, len(plan), recipe.warmup)
        scores = router(tokenize(tokenizer, [example.text for example in batch]))
        loss = functional.binary_cross_entropy_with_logits(scores, targets(batch, labels))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*inner, *heads], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        recent = [*recent[-49:], float(loss.detach())]
        if (step + 1) % 50 == 0:
            _log.info("step %d of %d, loss %.4f", step + 1, len(plan), sum(recent) / len(recent))
    return len(plan)


def score(router: Router, tokenizer: Any, examples: Sequence[Example], labels: Sequence[str]) -> Scores:
    """The scores of held-out examples beside what they should be."""
    router.eval()
    texts = [example.text for example in examples]
    with torch.inference_mode():
        found = [router(tokenize(tokenizer, texts[at : at + 32])) for at in range(0, len(texts), 32)]
    return Scores(labels=tuple(labels), logits=torch.cat(found), truth=targets(examples, labels))


class Sets(msgspec.Struct, frozen=True, kw_only=True):
    """What is learned from, tuned on and tested on."""

    train: list[Example]
    dev: list[Example]
    tests: dict[str, list[Example]]
    described: list[manifest.Data]


def sets(team: Path, book: Phrasebook, recipe: Recipe, folder: Path | None) -> Sets:
    """The team's own sentences and asks, and public sets from `folder` (`routing`, `sgd`) if there is one."""
    seed = recipe.seed
    asks = Asks.read(team / "training", book.team)
    if folder is not None:
        asks = asks.with_english(sgd.asks(folder / "sgd", DOMAINS, recipe.said, seed))
    own = generate(book, recipe.requests, "train", seed, WEIGHTS) + asks.requests(recipe.asks, "train", seed)
    dev = generate(book, recipe.held_out, "dev", seed, WEIGHTS) + asks.requests(recipe.held_out, "dev", seed)
    test = generate(book, recipe.held_out, "test", seed, WEIGHTS)
    tests = {language: [example for example in test if example.language == language] for language in ("en", "fr")}
    described = [manifest.data(f"{team.name}/training", own, "Apache-2.0")]
    learned = own
    if folder is not None:
        routing = folder / "routing"
        extra = _sample(routing / "train.jsonl", recipe.public, seed)
        described.append(manifest.data("CLINC150 train, sampled", extra, "CC BY 3.0"))
        learned = own + extra
        dev = dev + _sample(routing / "val.jsonl", recipe.held_out // 2, seed)
        tests["clinc150"] = _sample(routing / "test.jsonl", recipe.held_out, seed)
    return Sets(train=learned, dev=dev, tests=tests, described=described)


def _sample(path: Path, count: int, seed: int) -> list[Example]:
    """Examples of CLINC150; those that a specialist serves make up an eighth."""
    rng = random.Random(f"{seed}/{path.name}")
    found = list(public(path, INTENTS, DOUBTFUL))
    served = [example for example in found if not example.open]
    others = [example for example in found if example.open]
    few = min(len(served), count // 8)
    return rng.sample(served, few) + rng.sample(others, min(len(others), count - few))


def centre(router: Router, thresholds: Mapping[str, float], dev: Scores) -> None:
    """Moves the biases so that each threshold comes to lie at one half: a team's router has one threshold for all."""
    shifts = torch.tensor([math.log(value / (1 - value)) for value in thresholds.values()])
    with torch.no_grad():
        router.specialists.bias.sub_(shifts[:-1] * dev.temperature)
        router.open.bias.sub_(shifts[-1:] * dev.open_temperature)


def write(router: Router, out: Path, base: str, heads: Heads) -> None:
    """Writes adapter and heads as `RouterEncoder` reads them."""
    out.mkdir(parents=True, exist_ok=True)
    save(router.encoder, base, out / "adapter")
    weights = {
        "specialists.weight": router.specialists.weight,
        "specialists.bias": router.specialists.bias,
        "open.weight": router.open.weight,
        "open.bias": router.open.bias,
    }
    save_file({name: weight.detach().contiguous() for name, weight in weights.items()}, out / "heads.safetensors")
    (out / "heads.json").write_bytes(msgspec.json.format(msgspec.json.encode(heads)) + b"\n")


def run(
    team: Path, base: str, out: Path, recipe: Recipe, folder: Path | None = None, directory: Path | None = None
) -> None:
    """Makes the examples, trains, tunes on dev, tests, and writes everything with its manifest."""
    directory = directory or find(parse(base))
    book = Phrasebook.read(team / "training", routing=recipe.routes)
    made = sets(team, book, recipe, folder)
    labels = (*book.team.specialists, *book.team.others)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    router = adapt(directory, len(labels), recipe)
    started = time.monotonic()
    steps = train(router, tokenizer, made.train, labels, recipe)
    seconds = time.monotonic() - started
    dev = fit_temperature(score(router, tokenizer, made.dev, labels))
    centre(router, thresholds := fit_thresholds(dev), dev)
    heads = Heads(
        labels=list(labels),
        version=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        base_sha256=parse(base).sha256,
        scale=recipe.scale,
        temperature=dev.temperature,
        open_temperature=dev.open_temperature,
        thresholds=dict.fromkeys(thresholds, 0.5),
    )
    write(router, out, base, heads)
    found = {name: score(router, tokenizer, examples, labels) for name, examples in made.tests.items()}
    about = manifest.Manifest(
        name=out.name,
        base=base,
        seed=recipe.seed,
        data=made.described,
        recipe=msgspec.to_builtins(recipe),
        steps=steps,
        seconds=round(seconds, 1),
        device=f"cpu, {torch.get_num_threads()} threads",
        versions=manifest.versions(),
        trained=dt.datetime.now(dt.UTC).replace(microsecond=0),
        metrics={key: value for name, each in found.items() for key, value in metrics(each, heads, name).items()},
    )
    about.write(out)
    card.write(manifest.read(out), out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--team", type=Path, required=True, help="the team's folder")
    parser.add_argument("--base", default="all-minilm-l6-v2", help="the encoder to adapt")
    parser.add_argument("--base-directory", type=Path, help="where it lies, if not among the models that were pulled")
    parser.add_argument("--data", type=Path, help="folder of public sets: routing (CLINC150) and sgd are used")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=0, help="of torch; one is best on a busy machine")
    parser.add_argument("--recipe", default="{}", help="settings that differ from the usual ones, as JSON")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = msgspec.json.decode(options.recipe, type=Recipe)
    run(options.team, options.base, options.out, recipe, options.data, options.base_directory)


if __name__ == "__main__":
    main()
