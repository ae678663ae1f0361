"""From a model's section of the team file to its engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from metier.actors.engines.base import Engine
from metier.actors.engines.llamacpp import LlamaCppEngine
from metier.actors.engines.transformers import TransformersEngine
from metier.actors.engines.vllm import VllmEngine
from metier.cluster import models, team
from metier.topics.errors import EngineFailed, InvalidTeam, ModelMissing


def made(folder: Path, **section: Any) -> Engine:
    """The engine of a model whose files lie in a folder."""
    (folder / "slm").mkdir(exist_ok=True)
    (folder / "slm" / "config.json").write_text("{}")
    whole = {
        "name": "small",
        "models": {"slm": {"source": "./slm"} | section, "enc": {"engine": "encoder"}},
        "router": {"model": "enc", "heads": "heads"},
        "specialists": {"one": {"about": "One.", "model": "slm", "tools": ["m:f"]}},
    }
    (folder / "team.yaml").write_bytes(msgspec.yaml.encode(whole))
    return models.engine(team.read(folder / "team.yaml"), "slm")


@pytest.mark.parametrize(
    ("kind", "engine"), [("transformers", TransformersEngine), ("llamacpp", LlamaCppEngine), ("vllm", VllmEngine)]
)
def test_an_engine_has_the_name_of_its_home(tmp_path: Path, kind: str, engine: type) -> None:
    found = made(tmp_path, engine=kind, shows="Small", options={"stand_in": True})

    assert engine is type(found)
    assert ("Small", True) == (found.model, found.stand_in)


@pytest.mark.parametrize("kind", ["transformers", "llamacpp", "vllm"])
def test_an_option_an_engine_does_not_have_names_its_place(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InvalidTeam, match=r"models\.slm\.options: Object contains unknown field `turbo`"):
        made(tmp_path, engine=kind, options={"turbo": True})


@pytest.mark.parametrize(
    ("gpus", "options", "share"), [(0.25, {}, 0.225), (1, {}, 0.9), (0, {}, 0.9), (0.5, {"gpu_memory": 0.4}, 0.4)]
)
def test_vllm_takes_no_more_of_a_gpu_than_ray_has_set_aside(
    tmp_path: Path, gpus: float, options: dict[str, float], share: float
) -> None:
    engine = made(tmp_path, engine="vllm", resources={"gpus": gpus}, options=options)

    assert isinstance(engine, VllmEngine)
    assert share == pytest.approx(engine.settings.gpu_memory)


async def test_a_library_that_is_not_installed_names_what_brings_it(tmp_path: Path) -> None:
    engine = made(tmp_path, engine="vllm")
    with pytest.raises(EngineFailed, match=r"it runs on vLLM: pip install 'metier\[vllm\]'"):
        await engine.load()


def test_an_unknown_home_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidTeam, match="'ollama' is not one of transformers, llamacpp, vllm, pointer, encoder, openai"
    ):
        made(tmp_path, engine="ollama")


def test_a_model_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing):
        made(tmp_path, engine="llamacpp", source="./other")
