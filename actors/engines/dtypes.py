"""In which numbers a model is run."""

from __future__ import annotations


def dtype_of(device: str) -> str:
    """ "bfloat16" where a device multiplies it, else "float32"."""
    import torch

    if device != "cpu":
        return "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") else "float32"
