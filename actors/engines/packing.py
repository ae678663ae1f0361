"""Linear layers whose weights are laid out once as the processor multiplies them.

A bfloat16 `Linear` on a CPU has its weights laid out anew in each call. torch's compiler lays them out beforehand and
calls oneDNN by an operator of its own (torch/_inductor/fx_passes/mkldnn_fusion.py); so does this, without compiling.

With few rows a product takes as long as reading the weight does. One that came in four bits is read in four bits then.
"""

from __future__ import annotations

from typing import Any

import torch

_operators = torch.ops.mkldnn
_quarters = torch.ops.aten._weight_int4pack_mm_for_cpu
#: Of no meaning on a CPU.
_INNER_TILES = 1

#: Of so many numbers of a row GGUF's Q4_1 says in four bits each how far it is from the least to the greatest.
BLOCK = 32
#: Up to so many rows, four bits multiply faster. One core of a Xeon with AMX, all of SmolLM2-135M: one row in 12 ms,
#: 8 in 33, 16 in 58, and in bfloat16 in 43, 43 and 41.
FEW_ROWS = 8
#: How far a number may be from whole, which float32 has rounded.
ROUNDING = 1e-3


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


class Matrix:
    """A weight `[out, in]` as it was read, for products in `dtype`: `[..., in]` to `[..., out]`, without gradients."""

    def __init__(self, weight: torch.Tensor, dtype: torch.dtype) -> None:
        whole = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        whole.weight = torch.nn.Parameter(weight.to(dtype), requires_grad=False)
        self._whole = Packed(whole) if _packable(whole.weight) else whole
        self._fours = fours(weight) if isinstance(self._whole, Packed) else None

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """The products."""
        rows = inputs.numel() // inputs.shape[-1]
        if self._fours is None or rows > FEW_ROWS:
            found: torch.Tensor = self._whole(inputs)
            return found
        numbers, scales = self._fours
        products: torch.Tensor = _quarters(inputs.reshape(rows, -1), numbers, BLOCK, scales)
        return products.view(*inputs.shape[:-1], -1)


def fours(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A weight `[out, in]` in four bits, laid out, with each block's scale and middle; None if that lost anything."""
    if weight.dtype is not torch.float32 or weight.shape[1] % BLOCK or weight.shape[0] % 16:
        return None
    # Most weights that did not come in four bits are known by their first rows.
    if _numbers(weight[:16]) is None or (found := _numbers(weight)) is None:
        return None
    numbers, scale, least = found
    laid = torch.ops.aten._convert_weight_to_int4pack_for_cpu(numbers.int(), _INNER_TILES)
    # The operator counts from the middle, 8.
    scales = torch.stack((scale, least + 8 * scale), dim=-1).transpose(0, 1).contiguous()
    return laid, scales.bfloat16()


def _numbers(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """The numbers `[out, in]`, 0 to 15, and each block's scale and least `[out, in / BLOCK]`; None if not such."""
    blocks = weight.view(len(weight), -1, BLOCK)
    least, greatest = blocks.amin(dim=-1, keepdim=True), blocks.amax(dim=-1, keepdim=True)
    scale = (greatest - least) / 15
    exact = (blocks - least).div_(scale.clamp(min=torch.finfo(scale.dtype).tiny))
    numbers = exact.round()
    if float(exact.sub_(numbers).abs_().amax()) > ROUNDING:
        return None
    return numbers.flatten(1), scale.squeeze(-1), least.squeeze(-1)


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
