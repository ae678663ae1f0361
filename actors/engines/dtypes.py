"""In which numbers a model is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def chosen(name: str, device: str = "cpu") -> torch.dtype:
    """The type of a name; "auto" is bfloat16 where the device multiplies it, else float32."""
    import torch

    found: torch.dtype = getattr(torch, name if name != "auto" else "bfloat16" if _able(device) else "float32")
    return found


def _able(device: str) -> bool:
    """Whether a device multiplies bfloat16."""
    import torch

    if device != "cpu":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
