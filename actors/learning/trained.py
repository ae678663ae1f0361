"""What serves an adapter that was trained, as teams serve it."""

from __future__ import annotations

from pathlib import Path

from ..engines.base import Engine
from ..engines.pointer import PointerEngine, PointerSettings
from ..engines.sources import find, parse
from ..engines.transformers import TransformersEngine, TransformersSettings
from . import manifest


def is_pointer(folder: Path) -> bool:
    """Whether a folder holds what `metier train pointer` makes."""
    return (folder / "adapter" / "adapter_config.json").is_file()


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds what `metier train adapter` makes."""
    return (folder / "adapter_config.json").is_file()


def engine(folder: Path, base: Path | None = None) -> Engine:
    """The engine of an adapter that prompts name as its folder is named, not loaded yet; the base is that of its
    manifest. Raises ModelMissing."""
    base = base or find(parse(manifest.read(folder).base))
    adapters = {folder.name: str(folder)}
    if is_pointer(folder):
        return PointerEngine(PointerSettings(path=str(base), name=base.name, adapters=adapters))
    return TransformersEngine(TransformersSettings(path=str(base), name=base.name, adapters=adapters))
