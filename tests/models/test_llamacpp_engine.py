"""The llama.cpp engine with the bundled model, as it is packed."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from harness.text_engines import NAME, TextEngine, ask, random_adapters, trip
from metier.actors.engines.base import complete
from metier.actors.engines.llamacpp import LlamaCppEngine, LlamaCppSettings
from metier.actors.engines.transformers import TransformersEngine, TransformersSettings
from metier.topics.errors import EngineFailed, ModelMissing

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    # peft 0.21 reads a property that transformers 5.23 has renamed.
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]


@pytest.fixture(scope="module")
def adapters(slm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return random_adapters(slm, tmp_path_factory.mktemp("adapters"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(slm: Path, adapters: dict[str, str]) -> AsyncIterator[LlamaCppEngine]:
    engine = LlamaCppEngine(LlamaCppSettings(path=str(slm), name=NAME, adapters=adapters, max_batch=4))
    await engine.load()
    yield engine
    await engine.close()


class TestLlamaCpp(TextEngine):
    pass


async def test_adapters_say_what_they_say_in_transformers_and_the_engine_is_no_surer(
    engine: LlamaCppEngine, slm: Path, adapters: dict[str, str]
) -> None:
    other = TransformersEngine(TransformersSettings(path=str(slm), name=NAME, adapters=adapters, dtype="float32"))
    await other.load()
    for adapter in (None, "red", "blue"):
        prompt = trip("Find a flight from London to Paris.", adapter=adapter)
        here, there = await complete(engine, prompt), await complete(other, prompt)
        assert (there.text, there.prompt_tokens) == (here.text, here.prompt_tokens)
        assert here.joint is not None
        assert there.joint is not None
        assert here.joint < there.joint * 1.1  # llama.cpp multiplies in eight bits
    await other.close()


async def test_closing_the_engine_ends_what_runs(slm: Path) -> None:
    engine = LlamaCppEngine(LlamaCppSettings(path=str(slm), name=NAME, max_batch=1, context=512))
    await engine.load()
    stream = engine.stream(ask("Tell me a very long story.", max_tokens=400))
    await anext(stream)
    waiting = asyncio.create_task(complete(engine, ask("Hello")))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(EngineFailed, match="it was closed while it answered"):
        [item async for item in stream]
    with pytest.raises(EngineFailed, match="it was closed while it answered"):
        await waiting
    with pytest.raises(EngineFailed, match="it is not loaded"):
        await engine.health()


async def test_a_model_pulled_without_its_packed_file_says_how_to_get_it(slm: Path, tmp_path: Path) -> None:
    shutil.copy(slm / "config.json", tmp_path)
    engine = LlamaCppEngine(LlamaCppSettings(path=str(tmp_path), name=NAME))
    with pytest.raises(ModelMissing, match=r"SmolLM2-135M-Instruct \(GGUF\) .* run `metier models pull`"):
        await engine.load()


async def test_an_adapter_that_gguf_cannot_say_is_refused(slm: Path, adapters: dict[str, str], tmp_path: Path) -> None:
    folder = shutil.copytree(adapters["red"], tmp_path / "red")
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"use_dora": True}))
    engine = LlamaCppEngine(LlamaCppSettings(path=str(slm), name=NAME, adapters={"red": str(folder)}))
    with pytest.raises(EngineFailed, match="cannot be made GGUF: it sets use_dora"):
        await engine.load()
