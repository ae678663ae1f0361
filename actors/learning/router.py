"""The router's encoder: a LoRA of a sentence encoder, and heads that say who is needed and what is open.

    python -m metier.actors.learning.router --team cluster/teams/trip --base all-minilm-l6-v2 --out DIRECTORY

Several specialists may be needed at once, so each has a logistic score of its own (binary cross entropy).
"""

from __future__ import annotations

import datetime as dt
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec
import torch
from torch.nn import functional

from ..engines.encoder import Heads
from ..engines.sources import parse
from . import card, command, heads, manifest, pairs, private, spoken
from .asks import Asks
from .examples import OPEN, Example, Phrasebook, generate, public
from .heads import Tuning
from .scores import chosen, f1, fit_temperature, fit_thresholds, metrics
from .sets import dialogues, sgd

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


class Recipe(Tuning, frozen=True, kw_only=True):
    """How the encoder is trained."""

    requests: int = 5_000
    #: Whether the sentences that are for the router alone are learned too.
    routes: bool = False
    #: Requests joined of asks, where the team has asks.
    asks: int = 5_000
    #: How often the team's requests written by hand are seen in each epoch, where it has any; 0 leaves them aside.
    pairs: int = 1
    #: Requests joined of two of those, the same two in each language.
    joined: int = 0
    #: How often the team's requests with their calls are seen in each epoch: whom they need is known but for those who
    #: call no tool of their own.
    calls: int = 0
    #: What it counts that the same request has other embeddings in other languages.
    alike: float = 0.0
    #: What it counts that others are thought to be needed for it there.
    agree: float = 0.0
    #: Share of the run it goes on from in the weights that are written (Wortsman et al. 2022, arXiv 2109.01903).
    earlier: float = 0.0
    #: How often those that are private or not are seen in each epoch, where the team has any.
    private: int = 1
    #: Of CLINC150, and of what people say first in the Schema-Guided Dialogue set for each specialist, where they are
    #: at hand.
    public: int = 2_200
    said: int = 150
    #: Whole dialogues of that set over several services, read as one request each.
    dialogues: int = 0
    #: Each of dev and test.
    held_out: int = 800


#: The same request, in one language or in several.
Request = Sequence[Example]


class Sets(msgspec.Struct, frozen=True, kw_only=True):
    """What is learned from, tuned on and tested on."""

    #: Each request in the languages it is known in.
    train: list[Request]
    dev: list[Example]
    #: Requests that are private or not, for choosing.
    confided: list[Example]
    tests: dict[str, list[Example]]
    described: list[manifest.Data]


def sets(team: Path, book: Phrasebook, recipe: Recipe, folder: Path | None) -> Sets:
    """The team's own sentences and asks, and public sets from `folder` (`routing`, `sgd`) if there is one."""
    seed = recipe.seed
    asks = Asks.read(team / "training", book.team)
    if folder is not None:
        asks = asks.with_english(sgd.asks(folder / "sgd", DOMAINS, recipe.said, seed))
    written = pairs.read(team / "training") if recipe.pairs else []
    alone = generate(book, recipe.requests, "train", seed, WEIGHTS) + asks.requests(recipe.asks, "train", seed)
    both = [pair.examples for pair in written if pair.split == "train"] * recipe.pairs
    both += [pair.examples for pair in pairs.joined(written, "train", recipe.joined, seed)]
    asked = spoken.read(team / "training") if recipe.calls else []
    alone += [each.routed(book.team) for each in asked if each.split == "train"] * recipe.calls
    confided = private.read(team / "training") if recipe.private else []
    both += [each.examples for each in confided if each.split == "train"] * recipe.private
    own = [*alone, *(example for each in both for example in each)]
    dev = generate(book, recipe.held_out, "dev", seed, WEIGHTS) + asks.requests(recipe.held_out, "dev", seed)
    dev += pairs.examples(written, "dev") * 4
    test = generate(book, recipe.held_out, "test", seed, WEIGHTS)
    tests = {language: [example for example in test if example.language == language] for language in ("en", "fr")}
    for example in pairs.examples(written, "dev"):
        tests.setdefault(f"dev.{example.language}", []).append(example)
    described = [manifest.data(f"{team.name}/training", own, "Apache-2.0")]
    if folder is not None and recipe.dialogues:
        more = _dialogues(folder / "multi_sgd", recipe.dialogues, seed)
        described.append(manifest.data("Schema-Guided Dialogue train, over several services", more, "CC BY-SA 4.0"))
        alone += more
    if folder is not None:
        routing = folder / "routing"
        extra = _sample(routing / "train.jsonl", recipe.public, seed)
        described.append(manifest.data("CLINC150 train, sampled", extra, "CC BY 3.0"))
        alone += extra
        dev = dev + _sample(routing / "val.jsonl", recipe.held_out // 2, seed)
        tests["clinc150"] = _sample(routing / "test.jsonl", recipe.held_out, seed)
    return Sets(
        train=[*both, *([each] for each in alone)],
        dev=dev,
        confided=[example for each in confided if each.split == "dev" for example in each.examples],
        tests=tests,
        described=described,
    )


def _dialogues(folder: Path, count: int, seed: int) -> list[Example]:
    found = dialogues.joined(folder, "train")
    return [
        Example(text=each.text, labels=tuple(sorted(each.served)), language="en", source="multi_sgd")
        for each in random.Random(f"{seed}/dialogues").sample(found, min(count, len(found)))
    ]


def _sample(path: Path, count: int, seed: int) -> list[Example]:
    """Examples of CLINC150; those that a specialist serves make up an eighth."""
    rng = random.Random(f"{seed}/{path.name}")
    found = list(public(path, INTENTS, DOUBTFUL))
    served = [example for example in found if not example.open]
    others = [example for example in found if example.open]
    few = min(len(served), count // 8)
    return rng.sample(served, few) + rng.sample(others, min(len(others), count - few))


def loss(router: heads.Router, recipe: Recipe, batch: Sequence[Request]) -> torch.Tensor:
    """Cross entropy of each specialist by itself, of being open, and of being private; and how far a request is from
    itself in another language: one minus the cosine, of weight `alike`, and the squares by which the chances differ, of
    weight `agree`."""
    examples = [example for request in batch for example in request]
    embeddings = router.embed([example.text for example in examples])
    found = torch.zeros(())
    if routed := [place for place, example in enumerate(examples) if example.routed]:
        those = [examples[place] for place in routed]
        truth, known = heads.targets(those, router.labels), heads.known(those, router.labels)
        scores = router.judge(embeddings[torch.tensor(routed)])
        found = found + functional.binary_cross_entropy_with_logits(scores, truth, known)
    if judged := [place for place, example in enumerate(examples) if example.private is not None]:
        secret = torch.tensor([float(bool(examples[place].private)) for place in judged])
        scores = router.confide(embeddings[torch.tensor(judged)])
        found = found + functional.binary_cross_entropy_with_logits(scores, secret) / len(router.labels)
    if firsts := [place for place, request in _starts(batch) if len(request) == 2]:
        first = torch.tensor(firsts)
        one, other = embeddings[first], embeddings[first + 1]
        if recipe.alike:
            found = found + recipe.alike * (1 - (one * other).sum(-1)).mean()
        if recipe.agree:
            here, there = (torch.sigmoid(router.judge(each)) for each in (one, other))
            found = found + recipe.agree * functional.mse_loss(here, there)
    return found


def _starts(batch: Sequence[Request]) -> list[tuple[int, Request]]:
    """Each request, and the place of its first language among the languages of all."""
    sizes = itertools.accumulate((len(request) for request in batch), initial=0)
    return list(zip(sizes, batch, strict=False))


def run(
    team: Path,
    base: str,
    directory: Path,
    out: Path,
    recipe: Recipe,
    folder: Path | None = None,
    told: str = "",
    start: Path | None = None,
) -> None:
    """Makes the examples, trains, tunes on dev, tests, and writes everything with its manifest."""
    book = Phrasebook.read(team / "training", routing=recipe.routes)
    made = sets(team, book, recipe, folder)
    labels = (*book.team.specialists, *book.team.others)
    router = heads.adapt(directory, labels, recipe, start)
    before = manifest.read(start) if start else None
    begun = time.monotonic()
    steps = heads.train(
        router,
        made.train,
        lambda request: len(request[0].text),
        partial(loss, router, recipe),
        out,
        (base, recipe, made.described, before),
    )
    if start is not None and recipe.earlier:
        heads.blend(router, start, recipe.earlier)
    about = _fitted(router, made.dev, base)
    secret = confiding(router, made.confided)
    heads.write(router, out, base, about, private=bool(made.confided))
    card.finish(
        out,
        base,
        recipe,
        begun,
        command=told,
        data=made.described,
        steps=steps,
        metrics=_tested(router, made.tests, about) | secret,
        start=before,
    )


def _tested(router: heads.Router, tests: Mapping[str, Sequence[Example]], about: Heads) -> dict[str, float]:
    found = {name: heads.score(router, examples) for name, examples in tests.items()}
    figures = {key: value for name, each in found.items() for key, value in metrics(each, about, name).items()}
    if {"dev.en", "dev.fr"} <= found.keys():
        one, other = (chosen(found[name], about) for name in ("dev.en", "dev.fr"))
        figures["dev.same"] = round(float((one == other).all(dim=1).float().mean()), 4)
    return figures


def confiding(router: heads.Router, dev: Sequence[Example]) -> dict[str, float]:
    """Moves the bias of what is private so that one half is the line with the best F1 on dev; returns its figures."""
    if not dev:
        return {}
    router.eval()
    with torch.inference_mode():
        logits = torch.cat([router.confide(router.embed([each.text])) for each in dev])
    truth = torch.tensor([bool(each.private) for each in dev])
    line = max(logits.tolist(), key=lambda value: f1(logits >= value, truth))
    # Between the least that is private and the next below it.
    line = (line + max((each for each in logits.tolist() if each < line), default=line)) / 2
    with torch.no_grad():
        router.private.bias.sub_(line)
    return {"dev.private.requests": float(len(dev)), "dev.private.f1": round(f1(logits >= line, truth), 4)}


def _fitted(router: heads.Router, dev: Sequence[Example], base: str) -> Heads:
    """Temperatures and thresholds that are best on dev; the thresholds go into the biases."""
    scores = fit_temperature(heads.score(router, dev))
    heads.centre(router, thresholds := fit_thresholds(scores), scores)
    return Heads(
        labels=list(router.labels),
        version=f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        base_sha256=parse(base).sha256,
        prefix=router.tuning.prefix,
        layers=router.tuning.layers,
        scale=router.tuning.scale,
        temperature=scores.temperature,
        open_temperature=scores.open_temperature,
        thresholds=dict.fromkeys(thresholds, 0.5),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; `arguments` instead of the process's own."""
    parser = command.parser(__doc__, "all-minilm-l6-v2")
    parser.add_argument("--team", type=Path, required=True, help="the team's folder")
    parser.add_argument("--data", type=Path, help="folder of public sets: routing (CLINC150) and sgd are used")
    parser.add_argument("--start", type=Path, help="what an earlier run made, to go on with")
    options = command.begun(parser, arguments)
    recipe = command.recipe(options.recipe, Recipe)
    told = command.again("router", options)
    run(options.team, options.base, options.base_directory, options.out, recipe, options.data, told, options.start)


if __name__ == "__main__":
    main()
