"""Linear layers whose weights are laid out once as the processor multiplies them.

A bfloat16 `Linear` on a CPU has its weights laid out anew in each call. torch's compiler lays them out beforehand and
calls oneDNN by an operator of its own (torch/_inductor/fx_passes/mkldnn_fusion.py); so does this, without compiling.
"""

from __future__ import annotations

from typing import Any

import torch

_operators = torch.ops.mkldnn


class Packed(torch.nn.Module):
    """A `Linear`, `[..., in]` to `[..., out]`, to be run without gradients."""

    def __init__(self, layer: torch.nn.Linear) -> None:
        super().__init__()
        self._weight = _operators._reorder_linear_weight(layer.weight.detach())
        self._bias = layer.bias.detach() if layer.bias is not None else None

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The products."""
        outputs: torch.Tensor = _operators._linear_pointwise(inputs, self._weight, self._bias, "none", [], "")
        return outputs


def pack(model: Any) -> Any:
    """The model, its bfloat16 `Linear` layers on a CPU packed in place. It can then be run, not trained or stored."""
    for path, parent in list(model.named_modules()):
        if "lora_" in path:  # adapters that are not merged: PEFT asks for the type of their weights
            continue
        for name, layer in list(parent.named_children()):
            if isinstance(layer, torch.nn.Linear) and _packable(layer.weight):
                setattr(parent, name, Packed(layer))
    return model


def _packable(weight: torch.Tensor) -> bool:
    able: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return able and weight.dtype is torch.bfloat16 and weight.device.type == "cpu"
