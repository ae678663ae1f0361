"""Packed language models in the format GGUF, made ready for Transformers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def convert(packed: Path, ready: Path) -> Path:
    """Writes the model in float32 with its tokenizer; returns `ready`."""
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
    return ready
