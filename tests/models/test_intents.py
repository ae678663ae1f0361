"""Heads for intents, trained so little that it proves the path: alone, and from what teachers say."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import msgspec
import pytest

from metier.actors.engines.base import Routing
from metier.actors.engines.encoder import EncoderSettings, RouterEncoder
from metier.actors.learning import heads, intents, manifest, teachers
from metier.actors.learning.evaluation.intents import Sentence, read
from metier.actors.learning.examples import Example

TINY = intents.Recipe(seed=1, rank=4, epochs=6, learning_rate=2e-3, dropout=0.0)
SAID = {
    "book_flight": ("book", "reserve", "get me", "i want", "find", "i need"),
    "translate": ("how do you say", "translate", "what is the french for", "say in spanish", "tell me the word for"),
}
ABOUT = {
    "book_flight": ("a flight to rome", "a plane to nice", "a ticket for oslo", "a seat to madrid", "flights home"),
    "translate": ("good morning", "thank you", "bread", "where is the station", "i am lost"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    known = [Sentence(f"{said} {what}", name) for name in SAID for said in SAID[name] for what in ABOUT[name]]
    other = [Sentence(f"{what} of {whom}", "oos", oos=True) for what in ("age", "height") for whom in ("bach", "liszt")]
    sentences = random.Random(1).sample(known + other * 3, len(known) + 12)
    parts = {"train": sentences[:48], "val": sentences[48:58], "test": sentences[58:]}
    for name, part in parts.items():
        (tmp_path / f"{name}.jsonl").write_bytes(b"\n".join(map(msgspec.json.encode, part)) + b"\n")
    return tmp_path


async def served(settings: EncoderSettings) -> Routing:
    encoder = RouterEncoder(settings)
    await encoder.load()
    try:
        return await encoder.route("please book a flight to lima")
    finally:
        await encoder.close()


@pytest.mark.parametrize("count", [0, 2])
def test_intents_are_learned_saved_and_served(minilm: Path, folder: Path, count: int) -> None:
    recipe = msgspec.structs.replace(TINY, teachers=count)
    intents.run(folder, "all-minilm-l6-v2", minilm, folder / "out", recipe, "metier train intents")
    about = manifest.read(folder / "out")
    routing = asyncio.run(served(EncoderSettings(path=str(minilm), heads=str(folder / "out"), name="intents")))

    assert routing.specialists["book_flight"] > 0.8 > routing.specialists["translate"]
    assert {"adapter/adapter_model.safetensors", "heads.safetensors"} == about.files.keys()
    assert (count, 48) == (about.recipe["teachers"], about.data[0].examples)
    # 48 sentences in batches of 32; with teachers, each once more with words left out.
    assert about.steps == 6 * (3 if count else 2)
    assert not (folder / "out" / "teachers").exists()


def test_a_teacher_that_an_earlier_run_trained_is_read(minilm: Path, folder: Path) -> None:
    recipe = msgspec.structs.replace(TINY, teachers=1, epochs=1)
    examples = [sentence.example for sentence in read(folder / "train.jsonl")]
    val = read(folder / "val.jsonl")
    base = ("all-minilm-l6-v2", minilm)
    intents.teach(examples, val, base, folder / "teachers", recipe)
    weights = folder / "teachers" / "2" / "heads.safetensors"
    begun = weights.stat().st_mtime_ns
    intents.teach(examples, val, base, folder / "teachers", recipe)
    assert begun == weights.stat().st_mtime_ns
    intents.teach(examples, val, base, folder / "teachers", msgspec.structs.replace(recipe, rank=2))
    assert begun < weights.stat().st_mtime_ns


def test_what_teachers_say_is_the_mean_of_what_each_says(minilm: Path) -> None:
    examples = [Example(text=text, labels=("red",)) for text in ("hello", "good bye to you")]
    routers = [heads.adapt(minilm, ["red", "blue"], msgspec.structs.replace(TINY, seed=seed)) for seed in (1, 2)]
    alone = [teachers.opinions([router], examples) for router in routers]
    both = teachers.opinions(routers, examples)
    for example in examples:
        expected = (alone[0][example.text] + alone[1][example.text]) / 2
        assert expected.tolist() == pytest.approx(both[example.text].tolist())
        assert float(both[example.text].sum()) == pytest.approx(1)


def test_a_thinned_sentence_has_fewer_words_in_their_order() -> None:
    example = Example(text="how do you say good morning in french", labels=("translate",))
    (thin,) = teachers.thinned([example], 0.3, 1)
    words = iter(example.text.split())
    assert len(thin.text.split()) < 8
    assert all(word in words for word in thin.text.split())
    assert example.labels == thin.labels


def test_a_sentence_of_one_word_is_not_thinned() -> None:
    assert [] == list(teachers.thinned([Example(text="hello", labels=())], 0.3, 1))
