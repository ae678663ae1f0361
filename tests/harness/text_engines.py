"""What every engine of a language model promises, whatever runs beneath it: one contract, held by each of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from metier.actors.engines.base import Completion, Engine, Piece, Prompt, Turn, complete
from metier.topics.errors import EngineFailed

NAME = "SmolLM2-135M-Instruct"
CITIES = [None, "Paris", "London", "San Francisco"]
TRIP = {
    "type": "object",
    "properties": {"from": {"enum": CITIES}, "to": {"enum": CITIES}},
    "required": ["from", "to"],
    "additionalProperties": False,
}


def ask(text: str, **options: Any) -> Prompt:
    values: dict[str, Any] = {"max_tokens": 8} | options
    return Prompt(turns=(Turn("user", text),), **values)


def trip(text: str, **options: Any) -> Prompt:
    return ask(text, schema=TRIP, **{"max_tokens": 40} | options)


def random_adapters(slm: Path, folder: Path) -> dict[str, str]:
    """Two adapters with random weights: what they say makes no sense, but each says it in its own way."""
    import torch
    from safetensors.torch import save_file

    config = json.loads((slm / "config.json").read_text())
    width, size = config["hidden_size"], config["head_dim"]
    rows = {"q_proj": size * config["num_attention_heads"], "v_proj": size * config["num_key_value_heads"]}
    told = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": list(rows)}
    for seed, name in enumerate(("red", "blue")):
        random = torch.Generator().manual_seed(seed)
        weights = {}
        for number in range(config["num_hidden_layers"]):
            for layer, height in rows.items():
                path = f"base_model.model.model.layers.{number}.self_attn.{layer}.lora_"
                weights[f"{path}A.weight"] = torch.randn(4, width, generator=random) / width**0.5
                weights[f"{path}B.weight"] = torch.randn(height, 4, generator=random) / 2
        (folder / name).mkdir()
        save_file(weights, folder / name / "adapter_model.safetensors")
        (folder / name / "adapter_config.json").write_text(json.dumps(told))
    return {name: str(folder / name) for name in ("red", "blue")}


class TextEngine:
    """The contract. A subclass has a fixture `engine`: loaded, called NAME, with the adapters of `random_adapters`."""

    async def test_the_pieces_are_the_completion(self, engine: Engine) -> None:
        items = [item async for item in engine.stream(ask("Name the capital of France."))]
        pieces, completion = items[:-1], items[-1]
        assert isinstance(completion, Completion)
        assert completion.text == "".join(piece.text for piece in pieces if isinstance(piece, Piece))
        assert "Paris" in completion.text
        assert NAME == completion.model

    async def test_words_come_before_the_last_is_known(self, engine: Engine) -> None:
        items = [item async for item in engine.stream(ask("Count to a hundred.", max_tokens=12))]
        assert 3 < sum(isinstance(item, Piece) for item in items)

    async def test_an_output_obeys_its_schema_and_says_how_sure_it_is(self, engine: Engine) -> None:
        completion = await complete(engine, trip("Find a flight from London to Paris."))
        assert {"from", "to"} == set(msgspec.json.decode(completion.text))
        assert completion.text == msgspec.json.encode(msgspec.json.decode(completion.text)).decode()
        assert "stop" == completion.finish
        assert completion.confidence is not None
        assert completion.joint is not None
        assert 0 < completion.joint <= completion.confidence < 1

    async def test_where_a_schema_leaves_nothing_to_choose_it_is_sure(self, engine: Engine) -> None:
        completion = await complete(engine, ask("Where to?", schema={"const": {"to": "Paris"}}, max_tokens=40))
        assert ('{"to":"Paris"}', 1.0) == (completion.text, completion.confidence)

    async def test_an_output_without_a_schema_says_nothing_of_how_sure_it_is(self, engine: Engine) -> None:
        completion = await complete(engine, ask("Hello"))
        assert (None, None) == (completion.confidence, completion.joint)

    async def test_a_prompt_gets_the_same_answer_alone_and_among_others(self, engine: Engine) -> None:
        prompts = [
            trip("Find a flight from London to Paris."),
            ask("Name the capital of France, and nothing else at all, in one word."),
            trip("I am in Paris and want to be in San Francisco, as soon as can be, whatever it costs."),
        ]
        alone = [(await complete(engine, prompt)).text for prompt in prompts]
        together = [completion.text for completion in await asyncio.gather(*(complete(engine, p) for p in prompts))]
        assert alone == together

    async def test_each_prompt_of_a_batch_gets_its_own_adapter(self, engine: Engine) -> None:
        prompts = [ask("Say a word.", adapter=adapter) for adapter in (None, "red", "blue")]
        alone = [(await complete(engine, prompt)).text for prompt in prompts]
        together = [completion.text for completion in await asyncio.gather(*(complete(engine, p) for p in prompts))]
        assert 3 == len(set(alone))
        assert alone == together

    async def test_an_adapter_does_not_linger(self, engine: Engine) -> None:
        before = await complete(engine, ask("Say a word."))
        await complete(engine, ask("Say a word.", adapter="red"))
        assert before.text == (await complete(engine, ask("Say a word."))).text

    async def test_a_seed_repeats_a_sampled_answer_whatever_it_shares_a_batch_with(self, engine: Engine) -> None:
        prompt = ask("Tell me something.", temperature=1.0, seed=7)
        other = ask("Tell me something.", temperature=1.0, seed=8)
        alone = await complete(engine, prompt)
        again, different = await asyncio.gather(complete(engine, prompt), complete(engine, other))
        assert alone.text == again.text != different.text

    async def test_the_limit_of_tokens_holds(self, engine: Engine) -> None:
        completion = await complete(engine, ask("Count to a hundred.", max_tokens=3))
        assert (3, "length") == (completion.output_tokens, completion.finish)

    async def test_an_output_that_a_limit_cut_short_says_so(self, engine: Engine) -> None:
        completion = await complete(engine, trip("Find a flight from London to Paris.", max_tokens=2))
        assert (2, "length") == (completion.output_tokens, completion.finish)

    async def test_nothing_of_a_stop_string_is_shown(self, engine: Engine) -> None:
        whole = await complete(engine, ask("Name the capital of France."))
        at = whole.text.index(" ") + 3
        stop = whole.text[at - 2 : at + 2]
        items = [item async for item in engine.stream(ask("Name the capital of France.", stop=(stop,)))]
        assert whole.text[: whole.text.index(stop)] == "".join(item.text for item in items if isinstance(item, Piece))
        assert isinstance(items[-1], Completion)
        assert "stop" == items[-1].finish

    async def test_closing_the_stream_stops_the_model(self, engine: Engine) -> None:
        stream = engine.stream(ask("Tell me a very long story.", max_tokens=4000))
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):  # four thousand tokens would take minutes
            await complete(engine, ask("Hello", max_tokens=1))

    async def test_a_schema_that_cannot_be_made_a_grammar_is_named(self, engine: Engine) -> None:
        with pytest.raises(EngineFailed, match="the JSON Schema cannot be made a grammar"):
            await complete(engine, ask("Hello", schema={"type": "nonsense"}))

    async def test_an_adapter_it_was_not_given_is_refused(self, engine: Engine) -> None:
        with pytest.raises(EngineFailed, match="it has no adapter 'green'; it has red, blue"):
            await complete(engine, ask("Hello", adapter="green"))

    async def test_a_prompt_longer_than_the_model_reads_is_refused(self, engine: Engine) -> None:
        with pytest.raises(EngineFailed, match="exceed its 8192"):
            await complete(engine, ask("hello " * 9000))

    async def test_a_loaded_model_is_healthy(self, engine: Engine) -> None:
        await engine.health()
