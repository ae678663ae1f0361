"""The vllm engine with the bundled model, in the environment that `make vllm` makes. It starts once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from harness.text_engines import NAME, TextEngine, random_adapters
from metier.actors.engines.sources import KNOWN, find
from metier.actors.engines.vllm import VllmEngine, VllmSettings
from metier.topics.errors import EngineFailed, ModelMissing

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
    # vLLM calls what torch and others have deprecated.
    *(pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning", "UserWarning")),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[VllmEngine]:
    slm = find(KNOWN["smollm2-135m-instruct"])
    adapters = random_adapters(slm, tmp_path_factory.mktemp("adapters"))
    engine = VllmEngine(
        # float32: in bfloat16 the sums of a batch round otherwise than those of one prompt, and words may differ.
        VllmSettings(path=str(slm), name=NAME, adapters=adapters, dtype="float32", compiled=False)
    )
    await engine.load()
    yield engine
    await engine.close()


class TestVllm(TextEngine):
    pass


async def test_a_model_that_is_not_there_says_how_to_get_it(tmp_path: Path) -> None:
    engine = VllmEngine(VllmSettings(path=str(tmp_path), name=NAME))
    with pytest.raises(ModelMissing, match="run `metier models pull`"):
        await engine.load()
    with pytest.raises(EngineFailed, match="it is not loaded"):
        await engine.health()
