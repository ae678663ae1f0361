"""The router's encoder with the bundled model and heads made here: what it reads, and what it refuses."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, BertModel

from metier.actors.engines.encoder import EncoderSettings, Heads, RouterEncoder, embed, tokenize
from metier.topics.errors import EngineFailed, ModelMissing

FLIGHT, POEM = "Find a flight from London to Paris", "Write a poem about autumn"


@pytest.fixture(scope="module")
def vectors(minilm: Path) -> torch.Tensor:
    model: Any = BertModel.from_pretrained(minilm, add_pooling_layer=False)
    model.eval()
    with torch.inference_mode():
        return embed(model, tokenize(AutoTokenizer.from_pretrained(minilm), [FLIGHT, POEM])).clone()


@pytest.fixture
def heads(tmp_path: Path, vectors: torch.Tensor) -> Callable[..., Path]:
    """Heads that know two sentences: flights by the first, open questions by the second."""

    def make(**options: Any) -> Path:
        weights = {
            "specialists.weight": vectors[:1].repeat(2, 1),
            "specialists.bias": torch.tensor([-0.5, 100.0]),
            "open.weight": vectors[1:].clone(),
            "open.bias": torch.tensor([-0.5]),
        }
        known = Heads(labels=["flights", "always"], version="1", scale=10.0)
        (tmp_path / "heads.json").write_bytes(msgspec.json.encode(msgspec.structs.replace(known, **options)))
        save_file(weights, tmp_path / "heads.safetensors")
        return tmp_path

    return make


def encoder(minilm: Path, heads: Path) -> RouterEncoder:
    return RouterEncoder(EncoderSettings(path=str(minilm), heads=str(heads), name="all-MiniLM-L6-v2"))


async def test_a_request_gets_the_probability_of_each_head(minilm: Path, heads: Callable[..., Path]) -> None:
    router = encoder(minilm, heads(temperature=2.0))
    await router.load()
    routing = await router.route(FLIGHT)
    assert pytest.approx(1 / (1 + math.exp(-9.5 / 2)), abs=1e-3) == routing.specialists["flights"]
    assert ["flights", "always"] == list(routing.specialists)
    assert routing.open < 0.9 < (await router.route(POEM)).open
    assert ("all-MiniLM-L6-v2 1", 9) == (routing.model, routing.tokens)
    await router.close()


async def test_only_heads_that_learned_what_is_private_tell_it(
    minilm: Path, heads: Callable[..., Path], vectors: torch.Tensor
) -> None:
    folder = heads()
    for learned, expected in (
        ({}, 0.0),
        ({"private.weight": vectors[1:].clone(), "private.bias": torch.zeros(1)}, 1.0),
    ):
        save_file(load_file(folder / "heads.safetensors") | learned, folder / "heads.safetensors")
        router = encoder(minilm, folder)
        await router.load()
        assert pytest.approx(expected, abs=1e-3) == (await router.route(POEM)).private
        await router.close()


async def test_requests_that_share_a_batch_read_as_they_do_alone(minilm: Path, heads: Callable[..., Path]) -> None:
    # Products in bfloat16 round otherwise in other shapes, on some processors.
    settings = EncoderSettings(path=str(minilm), heads=str(heads()), name="all-MiniLM-L6-v2", dtype="float32")
    router = RouterEncoder(settings)
    await router.load()
    texts = [FLIGHT, POEM, "Hotels, " * 40]
    alone = [(await router.route(text)).open for text in texts]
    together = await asyncio.gather(*(router.route(text) for text in texts))
    assert pytest.approx(alone, abs=1e-4) == [routing.open for routing in together]
    await router.close()


async def test_of_a_long_text_the_beginning_is_read(minilm: Path, heads: Callable[..., Path]) -> None:
    router = encoder(minilm, heads())
    await router.load()
    assert 256 == (await router.route("word " * 1000)).tokens
    await router.close()


async def test_heads_of_another_base_are_refused(minilm: Path, heads: Callable[..., Path]) -> None:
    with pytest.raises(EngineFailed, match="its heads were trained on another base than b9a0018d"):
        await encoder(minilm, heads(base_sha256="0" * 64)).load()


async def test_heads_of_another_shape_are_refused(minilm: Path, heads: Callable[..., Path]) -> None:
    with pytest.raises(EngineFailed, match=r"its heads have specialists\.weight \(2, 384\), not \(1, 384\)"):
        await encoder(minilm, heads(labels=["flights"])).load()


async def test_an_encoder_without_heads_or_base_says_what_is_missing(minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"heads\.json"):
        await encoder(minilm, tmp_path).load()
    with pytest.raises(ModelMissing, match="run `metier models pull`"):
        await encoder(tmp_path, tmp_path).load()


EXAMPLES: dict[str, tuple[str, ...]] = {
    "stock": ("How many chairs are left?", "Do we have printer paper?", "Is there any coffee in the store room?"),
    "papers": ("Find the contract with Acme", "Show me the minutes of the March meeting", "Look up the invoice"),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Do we still have staples?", {"stock"}),
        ("Please find the contract with Globex", {"papers"}),
        ("Write a poem about autumn", set()),
        ("What is the capital of Peru?", set()),
    ],
)
async def test_without_trained_heads_a_request_goes_by_the_nearest_example(
    minilm: Path, text: str, expected: set[str]
) -> None:
    router = RouterEncoder(EncoderSettings(path=str(minilm), examples=EXAMPLES, name="all-MiniLM-L6-v2"))
    await router.load()
    routing = await router.route(text)
    assert expected == {name for name, chance in routing.specialists.items() if chance >= 0.5}
    assert (routing.open >= 0.5) is (not expected)
    await router.close()


async def test_a_specialist_that_the_heads_do_not_know_goes_by_its_examples(
    minilm: Path, heads: Callable[..., Path]
) -> None:
    settings = EncoderSettings(path=str(minilm), heads=str(heads()), examples=EXAMPLES, name="all-MiniLM-L6-v2")
    router = RouterEncoder(settings)
    await router.load()
    flight, staples, poem = [await router.route(text) for text in (FLIGHT, "Do we still have staples?", POEM)]
    await router.close()
    assert ["flights", "always", "stock", "papers"] == list(flight.specialists)
    assert flight.specialists["stock"] < 0.5 <= flight.specialists["flights"]
    assert staples.specialists["papers"] < 0.5 <= staples.specialists["stock"]
    assert staples.open < 0.5 < poem.open


async def test_a_specialist_that_nothing_tells_of_is_refused(minilm: Path, heads: Callable[..., Path]) -> None:
    settings = EncoderSettings(path=str(minilm), heads=str(heads()), examples={"stock": (), "flights": ()}, name="x")
    with pytest.raises(EngineFailed, match="its heads do not know 'stock': give it `examples`"):
        await RouterEncoder(settings).load()


async def test_an_encoder_with_neither_heads_nor_examples_is_refused(minilm: Path) -> None:
    with pytest.raises(EngineFailed, match="it has neither heads nor examples"):
        await RouterEncoder(EncoderSettings(path=str(minilm), name="all-MiniLM-L6-v2")).load()
