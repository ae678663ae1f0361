"""The engine that points: trained so little that it proves the path, and served as teams serve it."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import torch

from metier.actors.engines.base import Prompt, Turn, complete
from metier.actors.engines.pointer import PointerEngine, PointerSettings
from metier.actors.engines.pointing import load
from metier.actors.engines.reading import NOTHING
from metier.actors.learning import manifest, pointer
from metier.actors.learning.examples import Phrasebook, generate
from metier.actors.learning.lessons import WEIGHTS, Lesson, lessons
from metier.actors.prompts import call_prompt, call_text, parse_call
from metier.actors.tools.base import Offer, Request
from metier.actors.tools.schema import Described
from metier.cluster import teams
from metier.topics.errors import EngineFailed, ModelMissing

TEAM = Path(teams.__path__[0]) / "trip"
TINY = pointer.Recipe(seed=1, rank=2, alpha=4, layers=2, batch=4, epochs=1, dtype="float32", learning_rate=5e-3)
TODAY = dt.date(2026, 11, 23)
PAINT = Described(
    "paint",
    {
        "properties": {
            "room": {"type": "string"},
            "colours": {"type": "array", "items": {"type": "string"}},
            "coats": {"type": "integer"},
            "finish": {"enum": ["matt", "silk"]},
            "primer": {"type": "boolean"},
        },
        "required": ["room"],
    },
    "Paint a room.",
)
SWEEP = Described("sweep", {"properties": {"room": {"type": "string"}}, "required": ["room"]}, "Sweep a room.")


@pytest.fixture(scope="module")
def given() -> list[Lesson]:
    book = Phrasebook.read(TEAM / "training")
    return lessons(book.team, generate(book, 16, "train", 1, WEIGHTS), 16, 1)


@pytest.fixture(scope="module")
def folder(e5: Path, given: list[Lesson], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pointer") / "tiny"
    described = manifest.data("lessons of trip", given, "Apache-2.0")
    pointer.run("multilingual-e5-small", e5, given, out, TINY, None, described, "metier train pointer")
    return out


@pytest.fixture
async def engine(e5: Path, folder: Path) -> AsyncIterator[PointerEngine]:
    made = PointerEngine(PointerSettings(path=str(e5), name="e5", adapters={"tiny": str(folder)}, dtype="float32"))
    await made.load()
    yield made
    await made.close()


def asked(
    text: str, *, may_refuse: bool = False, tools: tuple[Described, ...] = (PAINT,)
) -> tuple[list[Offer], Prompt]:
    request = Request(text=text, today=TODAY)
    offers = [tool.offer(request) for tool in tools]
    return offers, call_prompt(offers, request, "tiny", may_refuse=may_refuse)


def test_a_run_writes_what_it_learned_and_how(folder: Path, given: list[Lesson]) -> None:
    about = manifest.read(folder)
    assert ("tiny", 1, 16, "metier train pointer") == (about.name, about.seed, about.data[0].examples, about.command)
    assert {"adapter/adapter_model.safetensors", "heads.safetensors"} == about.files.keys()
    assert about.data[0] == manifest.data(about.data[0].name, given, about.data[0].licence)


def test_a_run_goes_on_from_another(e5: Path, folder: Path, given: list[Lesson]) -> None:
    again = pointer.adapt(e5, TINY, folder)
    fresh = pointer.adapt(e5, TINY)
    aims = [pointer.aim(lesson) for lesson in given]
    with torch.inference_mode():
        assert float(pointer.loss(again, aims)) < 0.8 * float(pointer.loss(fresh, aims))


def test_how_readily_it_refuses_is_stored_and_not_learned_from(e5: Path, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "shy")
    shy = pointer.adapt(e5, TINY, folder)
    shy.refusal = 2.0
    shy.write(tmp_path / "shy")
    assert 2.0 == load(e5, {"shy": tmp_path / "shy"}, torch.float32, "e5")["shy"].refusal
    assert 0.0 == pointer.adapt(e5, TINY, tmp_path / "shy").refusal


def test_counting_the_tokens_of_a_text_leaves_the_padding_of_batches_alone(e5: Path, folder: Path) -> None:
    # The tokenizer is one for all threads: a batch is read in one while a text is counted in another.
    counted = load(e5, {"tiny": folder}, torch.float32, "e5")["tiny"]
    counted.tokenizer(["a", "a longer one"], padding=True, truncation=True, max_length=64)
    before = (counted.tokenizer.backend_tokenizer.padding, counted.tokenizer.backend_tokenizer.truncation)
    found = counted.length("paint the kitchen")
    assert before == (counted.tokenizer.backend_tokenizer.padding, counted.tokenizer.backend_tokenizer.truncation)
    assert before[0] is not None
    assert found == len(counted.tokenizer.tokenize("paint the kitchen"))


def test_every_value_of_a_lesson_has_its_place() -> None:
    offers, prompt = asked("Paint the kitchen red and deep blue, two coats, matt")
    call = {"room": "kitchen", "colours": ["red", "deep blue"], "coats": 2, "finish": "matt", "primer": None}
    aim = pointer.aim(Lesson("paint", prompt.turns, call_text(offers, ("paint", call))))
    whole = aim.reading

    def words(at: int) -> list[str]:
        return [(whole.text if p.of_text else whole.about)[p.start : p.end] for part in aim.values[at] for p in part]

    assert [["kitchen"], ["red", "deep blue"], ["two"], ["matt"]] == [words(at) for at in range(4)]
    assert [[NOTHING]] == aim.values[4]


def test_a_refusal_is_learned_as_the_place_behind_the_tools() -> None:
    offers, prompt = asked("Sing", may_refuse=True, tools=(PAINT, SWEEP))
    aim = pointer.aim(Lesson("paint", prompt.turns, call_text(offers, None, may_refuse=True)))
    assert (2, {}) == (aim.tool, aim.values)


@pytest.mark.parametrize("may_refuse", [False, True])
@pytest.mark.parametrize("tools", [(PAINT,), (PAINT, SWEEP)])
async def test_what_it_says_obeys_the_schema(
    engine: PointerEngine, tools: tuple[Described, ...], *, may_refuse: bool
) -> None:
    text = "Paint the kitchen red and blue with 2 coats of silk"
    offers, prompt = asked(text, may_refuse=may_refuse, tools=tools)
    completion = await complete(engine, prompt)
    call = parse_call(offers, completion.text, may_refuse=may_refuse)
    assert call is not None or may_refuse
    name, arguments = call or ("paint", {})
    properties = next(offer for offer in offers if offer.name == name).schema["properties"]
    for argument, value in arguments.items():
        allowed = properties[argument]
        assert (
            value is None or value in allowed.get("enum", ()) or set(value) <= set(allowed["anyOf"][1]["items"]["enum"])
        )
    assert completion.confidence is not None
    assert completion.joint is not None
    assert 0 < completion.joint <= completion.confidence <= 1
    assert completion.output_tokens > 0


async def test_a_batch_answers_as_one_at_a_time(engine: PointerEngine) -> None:
    texts = ["Paint the hall white", "Sweep the long corridor on the second floor, please", "Paint 2 rooms"]
    prompts = [asked(text, tools=(PAINT, SWEEP))[1] for text in texts]
    alone = [await complete(engine, prompt) for prompt in prompts]
    together = await asyncio.gather(*(complete(engine, prompt) for prompt in prompts))
    assert [each.text for each in alone] == [each.text for each in together]
    assert [each.joint for each in alone] == pytest.approx([each.joint for each in together], rel=1e-3)


async def test_a_text_too_long_to_enumerate_is_pointed_at_as_well(engine: PointerEngine) -> None:
    offers, prompt = asked("Paint the kitchen. " + "It is a nice day. " * 60)
    assert "enum" not in offers[0].schema["properties"]["room"]
    call = parse_call(offers, (await complete(engine, prompt)).text)
    assert call is not None
    assert call[1]["room"] is None or call[1]["room"] in prompt.turns[-1].content


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        (asked("x")[1], "it has no adapter 'other'; it has tiny"),
        (Prompt(turns=(Turn("user", "Tell me a story"),), adapter="tiny"), "the prompt offers no tool"),
    ],
)
async def test_what_it_cannot_answer_is_an_error(engine: PointerEngine, prompt: Prompt, reason: str) -> None:
    other = msgspec.structs.replace(prompt, adapter="other") if "other" in reason else prompt
    with pytest.raises(EngineFailed, match=reason):
        await complete(engine, other)


async def test_a_pointer_that_is_not_there_or_not_loaded_says_so(e5: Path, folder: Path, tmp_path: Path) -> None:
    missing = PointerEngine(PointerSettings(path=str(tmp_path), name="e5", adapters={}))
    with pytest.raises(ModelMissing):
        await missing.load()
    with pytest.raises(EngineFailed, match="not loaded"):
        await missing.health()
    nowhere = PointerEngine(PointerSettings(path=str(e5), name="e5", adapters={"x": str(tmp_path)}))
    with pytest.raises(EngineFailed, match="there is no adapter in"):
        await nowhere.load()
