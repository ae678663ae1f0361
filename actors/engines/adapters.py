"""LoRA adapters on a model, by PEFT."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metier.topics.errors import EngineFailed


def attach(model: Any, adapters: Mapping[str, str], shown: str) -> Any:
    """The PeftModel that holds a model and its adapters, given as directories by name.

    Raises EngineFailed, with the model as it is `shown`, if a directory holds none.
    """
    from peft import PeftModel

    holder: Any = None
    for name, path in adapters.items():
        if not (Path(path) / "adapter_config.json").is_file():
            raise EngineFailed(model=shown, reason=f"there is no adapter in {path}")
        if holder is not None:
            holder.load_adapter(path, adapter_name=name)
            continue
        with warnings.catch_warnings():
            # peft 0.21 reads a property that transformers 5.23 has renamed.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`", category=FutureWarning)
            holder = PeftModel.from_pretrained(model, path, adapter_name=name)
    return holder
