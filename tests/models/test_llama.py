"""The forward pass of the Llama family gives the scores that Transformers gives, with adapters, pads and four bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.text_engines import NAME, random_adapters
from metier.actors.engines.adapters import attach
from metier.actors.engines.decoding import Model
from metier.actors.engines.eager import Eager
from metier.actors.engines.llama import Llama, fits
from metier.actors.engines.transformers import _served

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

RED, BLUE = "red", "blue"
PAD = 0
#: Scores are tens; these adapters are wild, and enlarge what the order of sums rounds.
NEAR: dict[str, Any] = {"rtol": 1e-3, "atol": 1e-2}


@pytest.fixture(scope="module")
def folders(slm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return random_adapters(slm, tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def read(slm: Path, folders: dict[str, str]) -> tuple[Any, Any]:
    """The model as Transformers reads it, in float32, and with its adapters."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(slm, dtype=torch.float32)
    return model, attach(model, folders, NAME)


@pytest.fixture(scope="module")
def eager(read: tuple[Any, Any]) -> Eager:
    return Eager(*read)


@pytest.fixture(scope="module")
def texts() -> list[list[int]]:
    random = torch.Generator().manual_seed(7)
    return [torch.randint(100, 40_000, (length,), generator=random).tolist() for length in (23, 9, 31, 2)]


def heard(
    model: Model, texts: Sequence[list[int]], adapters: Sequence[str | None], steps: Sequence[int]
) -> list[torch.Tensor]:
    """The scores after each step: the texts, padded, but for their last tokens, then those, so many at once."""
    width = max(map(len, texts))
    padded = torch.tensor([[PAD] * (width - len(text)) + text for text in texts])
    with torch.inference_mode():
        sequences = model.begin(adapters, [width - len(text) for text in texts], width)
        found, at = [], width - sum(steps)
        found.append(sequences.read(padded[:, :at]))
        for count in steps:
            found.append(sequences.read(padded[:, at : at + count]))
            at += count
    return found


@pytest.mark.parametrize(
    "adapters",
    [[None] * 4, [RED] * 4, [RED, BLUE, None, RED]],
    ids=["no adapter", "one", "mixed"],
)
def test_scores_are_those_of_transformers(
    read: tuple[Any, Any], eager: Eager, texts: list[list[int]], adapters: list[str | None]
) -> None:
    llama = Llama(read[0], [RED, BLUE], torch.float32)

    for ours, theirs in zip(heard(llama, texts, adapters, [1]), heard(eager, texts, adapters, [1]), strict=True):
        torch.testing.assert_close(ours, theirs, **NEAR)


def test_one_alone_is_read_in_any_pieces(read: tuple[Any, Any], eager: Eager, texts: list[list[int]]) -> None:
    llama = Llama(read[0], [RED, BLUE], torch.float32)
    theirs = heard(eager, texts[:1], [BLUE], [4, 1, 3])

    for ours, each in zip(heard(llama, texts[:1], [BLUE], [4, 1, 3]), theirs, strict=True):
        torch.testing.assert_close(ours, each, **NEAR)


@pytest.mark.parametrize("kind", ["llama", "eager"])
def test_rows_that_are_left_go_on_as_before(
    kind: str, read: tuple[Any, Any], eager: Eager, texts: list[list[int]]
) -> None:
    model: Model = Llama(read[0], [RED, BLUE], torch.float32) if kind == "llama" else eager
    adapters, width = [RED, BLUE, None, RED], max(map(len, texts))
    padded = torch.tensor([[PAD] * (width - len(text)) + text for text in texts])
    with torch.inference_mode():
        sequences = model.begin(adapters, [width - len(text) for text in texts], width)
        sequences.read(padded[:, :-1])
        sequences.keep([1, 3])
        ours = sequences.read(padded[[1, 3], -1:])

    torch.testing.assert_close(ours, heard(model, texts, adapters, [1])[-1][[1, 3]], **NEAR)


@pytest.mark.parametrize("adapter", [None, RED])
def test_four_bits_and_bfloat16_are_as_near_as_bfloat16_is(
    slm: Path, folders: dict[str, str], read: tuple[Any, Any], texts: list[list[int]], adapter: str | None
) -> None:
    from transformers import AutoModelForCausalLM

    coarse = AutoModelForCausalLM.from_pretrained(slm, dtype=torch.bfloat16)
    plain = Eager(coarse, attach(coarse, folders, NAME))
    llama = Llama(read[0], [RED, BLUE], torch.bfloat16)
    exact = heard(Eager(*read), texts[:1], [adapter], [1, 1])

    for ours, theirs, right in zip(
        heard(llama, texts[:1], [adapter], [1, 1]), heard(plain, texts[:1], [adapter], [1, 1]), exact, strict=True
    ):
        assert float((ours - right).square().mean().sqrt()) < 1.5 * float((theirs - right).square().mean().sqrt())


SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64}


def test_a_model_on_another_device_is_left_to_transformers() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    made = {
        device: _served(LlamaForCausalLM(LlamaConfig(**SMALL)), None, [], torch.float32, device)
        for device in ("cpu", "meta")
    }

    assert isinstance(made["cpu"], Llama)
    assert isinstance(made["meta"], Eager)


def test_a_model_of_another_shape_is_left_to_transformers() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    assert fits(LlamaForCausalLM(LlamaConfig(**SMALL)))
    assert not fits(LlamaForCausalLM(LlamaConfig(**SMALL, attention_bias=True)))
    assert not fits(LlamaForCausalLM(LlamaConfig(**SMALL, hidden_act="gelu")))
    assert not fits(Qwen2ForCausalLM(Qwen2Config(**SMALL)))


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
@pytest.mark.parametrize(
    ("fitting", "options"),
    [
        (True, {"target_modules": ["q_proj", "down_proj"]}),
        (False, {"target_modules": ["q_proj"], "use_dora": True}),
        (False, {"target_modules": ["q_proj"], "lora_bias": True}),
        (False, {"target_modules": ["q_proj", "lm_head"]}),
        (False, {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
        (False, {"target_modules": ["q_proj", "embed_tokens"]}),
    ],
    ids=["LoRA", "DoRA", "bias", "head", "saved", "embedding"],
)
def test_an_adapter_of_another_kind_is_left_to_transformers(fitting: bool, options: dict[str, Any]) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**SMALL))
    get_peft_model(model, LoraConfig(**options))

    assert fitting == fits(model)
