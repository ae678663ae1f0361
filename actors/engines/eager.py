"""Any model, as Transformers runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class Eager:
    """A model that Transformers has read, and what PEFT has made of it if it has adapters."""

    def __init__(self, model: Any, adapters: Any = None) -> None:
        self._model = model
        self._adapters = adapters

    def begin(self, adapters: Sequence[str | None], pads: Sequence[int], room: int) -> Sequences:
        """Sequences `[B]` with `pads` of their first tokens left out; they take the room they need."""
        return Sequences(self, adapters, torch.tensor(pads, device=self._model.device))

    def forward(self, adapters: Sequence[str | None], **inputs: Any) -> Any:
        """A pass with the adapter of each row."""
        wanted = set(adapters)
        if self._adapters is None:
            return self._model(**inputs)
        if wanted == {None}:
            self._adapters.base_model.disable_adapter_layers()
            return self._model(**inputs)
        self._adapters.base_model.enable_adapter_layers()
        if len(wanted) == 1:
            # A fifth faster than naming the adapter of each row.
            self._adapters.set_adapter(wanted.pop(), inference_mode=True)
            return self._model(**inputs)
        return self._adapters(adapter_names=[name or "__base__" for name in adapters], **inputs)


class Sequences:
    """A batch of sequences that is read on and on."""

    def __init__(self, model: Eager, adapters: Sequence[str | None], pads: torch.Tensor) -> None:
        from transformers import DynamicCache

        self._model = model
        self._adapters = list(adapters)
        self._pads = pads
        self._kept: Any = DynamicCache()

    def read(self, ids: torch.Tensor) -> torch.Tensor:
        """Reads the next tokens of each `[B, T]`, and returns the scores of what may follow `[B, V]`, in float32."""
        at = self._kept.get_seq_length()
        positions = torch.arange(at + ids.shape[1], device=self._pads.device)
        output = self._model.forward(
            self._adapters,
            input_ids=ids.to(self._pads.device),
            attention_mask=(positions >= self._pads[:, None]).long(),
            position_ids=(positions[at:] - self._pads[:, None]).clamp(min=0),
            past_key_values=self._kept,
            use_cache=True,
            logits_to_keep=1,
        )
        scores: torch.Tensor = output.logits[:, -1].float()
        return scores

    def keep(self, rows: Sequence[int]) -> None:
        """Goes on with these rows of the batch alone."""
        self._adapters = [self._adapters[row] for row in rows]
        self._pads = self._pads[rows]
        self._kept.batch_select_indices(torch.tensor(rows, device=self._pads.device))
