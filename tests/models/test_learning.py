"""Training, made so small that it proves the path and nothing else: the models it makes load where teams load them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest
import torch
from transformers import AutoTokenizer

from metier.actors.engines.base import complete
from metier.actors.engines.encoder import EncoderSettings, Heads, RouterEncoder
from metier.actors.engines.transformers import TransformersEngine, TransformersSettings
from metier.actors.learning import adapter, heads, manifest, router
from metier.actors.learning.examples import Example, Phrasebook, generate
from metier.actors.learning.lessons import WEIGHTS, Lesson, lessons
from metier.actors.learning.pairs import Pair
from metier.actors.learning.private import Confided
from metier.actors.prompts import call_prompt
from metier.actors.tools.base import Request
from metier.cluster import teams

TEAM = Path(teams.__path__[0]) / "trip"
TINY = adapter.Recipe(
    seed=1, dtype="float32", lessons=20, rank=2, first_layer=27, pack=4, learning_rate=5e-3, checkpoint=5
)


@pytest.fixture(scope="module")
def book() -> Phrasebook:
    return Phrasebook.read(TEAM / "training")


@pytest.fixture(scope="module")
def given(book: Phrasebook) -> list[Lesson]:
    return lessons(book.team, generate(book, 20, "train", 1, WEIGHTS), 20, 1)


def test_a_pack_teaches_what_its_lessons_teach_apart(slm: Path, given: list[Lesson]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(slm)
    own = [adapter.tokens(tokenizer, lesson) for lesson in given if lesson.specialist == given[0].specialist][:3]
    model = adapter.adapt(slm, TINY).eval()
    with torch.inference_mode():
        apart = [adapter.loss_of(model, adapter.pack([each])) * (len(each.ids) - each.prompt) for each in own]
        together = adapter.loss_of(model, adapter.pack(own))
    expected = float(sum(apart)) / sum(len(each.ids) - each.prompt for each in own)
    assert pytest.approx(expected, abs=1e-4) == float(together)


async def test_an_adapter_is_trained_saved_and_served(
    slm: Path, book: Phrasebook, given: list[Lesson], tmp_path: Path
) -> None:
    adapter.run(
        "smollm2-135m-instruct", slm, given, tmp_path / "small", TINY, None, manifest.data("lessons", given, "MIT")
    )
    about = manifest.read(tmp_path / "small")
    assert (20, 1, "small") == (about.data[0].examples, about.seed, about.name)
    assert about.files.keys() == {"adapter_model.safetensors"}
    assert about.data[0] == manifest.data(about.data[0].name, given, about.data[0].licence)
    engine = TransformersEngine(
        TransformersSettings(path=str(slm), name="SmolLM2", adapters={"small": str(tmp_path / "small")})
    )
    await engine.load()
    text = "Find a hotel in Lyon"
    offers = [book.team.specialists["hotels"].offer(text)]
    request = Request(text=text, today=dt.date(2026, 11, 23))
    completion = await complete(engine, call_prompt(offers, request, "small"))
    await engine.close()
    assert offers[0].schema["required"] == list(msgspec.json.decode(completion.text))


def test_the_loss_falls(slm: Path, given: list[Lesson], tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(slm)
    plan = adapter.packs([adapter.tokens(tokenizer, lesson) for lesson in given[:8]], 4, 1)[:2]
    losses = adapter.train(adapter.adapt(slm, TINY), plan * 3, TINY, tmp_path, "")
    assert sum(losses[:2]) > 1.2 * sum(losses[-2:])


async def test_a_router_is_trained_saved_and_served(minilm: Path, book: Phrasebook, tmp_path: Path) -> None:
    recipe = router.Recipe(seed=1, requests=240, asks=12, pairs=0, private=0, held_out=40, rank=2, epochs=1)
    router.run(TEAM, "all-minilm-l6-v2", minilm, tmp_path / "router", recipe)
    encoder = RouterEncoder(EncoderSettings(path=str(minilm), heads=str(tmp_path / "router"), name="MiniLM"))
    await encoder.load()
    routing = await encoder.route("Find me a hotel in Lyon for two nights")
    poem = await encoder.route("Write a poem about the moon")
    await encoder.close()
    assert [*book.team.specialists, *book.team.others] == list(routing.specialists)
    assert routing.specialists["hotels"] > routing.specialists["calendar"]
    assert poem.open > routing.open
    assert "en.exact" in manifest.read(tmp_path / "router").metrics


def test_a_router_learns_what_is_private_and_that_languages_are_alike(minilm: Path) -> None:
    secret = Confided("A room near my clinic", "Une chambre près de ma clinique", private=True)
    plain = Pair("A hotel in Nice", "Un hôtel à Nice", ("hotels",))
    tuning = router.Recipe(seed=1, rank=2, layers=1, dropout=0.0)
    learner = heads.adapt(minilm, ["hotels", "weather"], tuning)
    batch = [secret.examples, plain.examples]
    optimizer = torch.optim.AdamW([each for each in learner.parameters() if each.requires_grad], lr=1e-2)
    losses = [_step(learner, batch, optimizer) for _ in range(20)]

    assert losses[-1] < losses[0] / 2
    with torch.inference_mode():
        embeddings = learner.embed([each.text for request in batch for each in request])
        confided, judged = learner.confide(embeddings[:2]), learner.judge(embeddings[2:])
    assert (confided > 0).all()
    assert [[True, False, False]] * 2 == (judged > 0).tolist()
    assert float(embeddings[0] @ embeddings[1]) > 0.9


def test_languages_that_should_agree_are_pulled_to_the_same_specialists(minilm: Path) -> None:
    learner = heads.adapt(minilm, ["hotels", "weather"], router.Recipe(seed=1, rank=2, layers=1, dropout=0.0))
    request = Pair("A hotel in Nice", "Un hôtel à Nice", ("hotels",)).examples
    apart, agreed = (router.loss(learner, router.Recipe(agree=agree), [request]).item() for agree in (0.0, 10.0))
    with torch.inference_mode():
        one, other = torch.sigmoid(learner([each.text for each in request]))
    assert float((one - other).square().mean()) * 10 == pytest.approx(agreed - apart, rel=1e-3)
    assert agreed > apart


def test_whether_somebody_is_needed_of_whom_nothing_was_said_teaches_nothing(minilm: Path) -> None:
    tuning = router.Recipe(dropout=0.0)
    learner = heads.adapt(minilm, ("weather", "secretary"), tuning).eval()
    with torch.inference_mode():
        said, unsaid = (
            [
                router.loss(learner, tuning, [[Example(text="Rain in Nice?", labels=labels, unsaid=left)]]).item()
                for labels in (("weather",), ("weather", "secretary"))
            ]
            for left in ((), ("secretary",))
        )
    assert said[0] != said[1]
    assert unsaid[0] == unsaid[1]


def test_a_router_goes_on_from_what_an_earlier_run_wrote(minilm: Path, tmp_path: Path) -> None:
    tuning = router.Recipe(seed=1, rank=2, layers=1, dropout=0.0)
    labels = ["hotels", "weather"]
    earlier = heads.adapt(minilm, labels, tuning)
    optimizer = torch.optim.AdamW([each for each in earlier.parameters() if each.requires_grad], lr=1e-2)
    batch = [Pair("A hotel in Nice", "Un hôtel à Nice", ("hotels",)).examples]
    for _ in range(3):
        _step(earlier, batch, optimizer)
    heads.write(earlier, tmp_path, "all-minilm-l6-v2", Heads(labels=labels, version="1"), private=True)
    later = heads.adapt(minilm, labels, tuning, tmp_path)

    with torch.inference_mode():
        expected, found = (each(["A hotel in Nice", "Rain?"]) for each in (earlier, later))
    assert torch.allclose(expected, found, atol=0.05)  # an adapter is stored in float16
    assert torch.equal(earlier.private.weight, later.private.weight)


def test_a_blend_lies_between_what_was_learned_and_the_run_it_went_on_from(minilm: Path, tmp_path: Path) -> None:
    tuning = router.Recipe(seed=1, rank=2, layers=1, dropout=0.0)
    earlier, later = (heads.adapt(minilm, ["hotels"], tuning) for _ in range(2))
    with torch.no_grad():
        for weight in (*earlier.parameters(), *later.parameters()):
            if weight.requires_grad:
                weight.copy_(torch.randn_like(weight).half().float())
    heads.write(earlier, tmp_path, "all-minilm-l6-v2", Heads(labels=["hotels"], version="1"), private=True)
    before = {name: weight.clone() for name, weight in later.named_parameters()}
    heads.blend(later, tmp_path, 0.25)

    there = dict(earlier.named_parameters())
    for name, weight in later.named_parameters():
        assert torch.allclose(0.25 * there[name] + 0.75 * before[name], weight, atol=1e-5)


def _step(learner: heads.Router, batch: list[list[Example]], optimizer: torch.optim.Optimizer) -> float:
    found = router.loss(learner, router.Recipe(alike=1.0), batch)
    optimizer.zero_grad()
    found.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return float(found.detach())
