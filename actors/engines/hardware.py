"""What the hardware gives a model that torch runs: its numbers, and its threads."""

from __future__ import annotations

from collections.abc import Callable
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


def read_in(load: Callable[[], None], threads: int) -> None:
    """Loads a model in one thread; then torch has `threads`, or one for each core where that is 0.

    The processes of a team load theirs at once, and threads that wait for each other would take each other's time.
    """
    import torch

    own = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        load()
    finally:
        torch.set_num_threads(threads or own)
