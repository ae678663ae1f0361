"""Packed language models in the format GGUF, made ready for Transformers; and LoRA adapters, for llama.cpp."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from metier.topics.errors import EngineFailed

if TYPE_CHECKING:
    import torch

#: What of PEFT's configuration says more than llama.cpp can be told.
_BEYOND = ("use_dora", "use_rslora", "lora_bias", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")


def convert(packed: Path, ready: Path) -> Path:
    """Writes the model in float32 with its tokenizer, and the packed file beside them; returns `ready`."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # Transformers draws a bar of its own over ours
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    options: dict[str, Any] = {"gguf_file": packed.name}
    model = AutoModelForCausalLM.from_pretrained(
        packed.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32, **options
    )
    model.save_pretrained(ready)
    AutoTokenizer.from_pretrained(packed.parent, **options).save_pretrained(ready)
    shutil.copyfile(packed, ready / packed.name)
    return ready


def adapter(folder: Path, base: Path, target: Path, shown: str) -> Path:
    """Writes a LoRA adapter of PEFT as llama.cpp reads it; returns `target`.

    Raises EngineFailed, with the model as it is `shown`, for what is no adapter or cannot be said in GGUF.
    """
    from gguf import MODEL_ARCH, GGUFType, GGUFWriter, Keys, get_tensor_name_map
    from safetensors.torch import load_file

    if not (folder / "adapter_config.json").is_file():
        raise EngineFailed(model=shown, reason=f"there is no adapter in {folder}")
    told = msgspec.json.decode((folder / "adapter_config.json").read_bytes())
    config = msgspec.json.decode((base / "config.json").read_bytes())
    beyond = [name for name in _BEYOND if told.get(name)]
    if beyond or config["model_type"] != "llama":
        reason = f"it sets {', '.join(beyond)}" if beyond else f"its base is a {config['model_type']}, not a llama"
        raise EngineFailed(model=shown, reason=f"the adapter in {folder} cannot be made GGUF: {reason}")
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    writer = GGUFWriter(target, "llama")
    writer.add_type(GGUFType.ADAPTER)
    writer.add_string(Keys.Adapter.TYPE, "lora")
    writer.add_float32(Keys.Adapter.LORA_ALPHA, float(told["lora_alpha"]))
    for path, weights in load_file(folder / "adapter_model.safetensors").items():
        layer, _, side = path.removeprefix("base_model.model.").removesuffix(".weight").rpartition(".lora_")
        if side == "B" and (count := heads.get(layer.rpartition(".")[2])):
            weights = _interleaved(weights, count)
        writer.add_tensor(f"{names.get_name(layer)}.weight.lora_{side.lower()}", weights.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _interleaved(weights: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows `[heads * size, rank]` in the order of llama.cpp, whose rotary embedding turns neighbours, not halves.

    Source: `LlamaModel.permute` in llama.cpp's convert_hf_to_gguf.py, which the base went through.
    """
    rows, rank = weights.shape
    return weights.reshape(heads, 2, rows // heads // 2, rank).swapaxes(1, 2).reshape(rows, rank).contiguous()
