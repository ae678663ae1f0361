"""What was trained, of what, and how well it does: written beside every adapter."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import torch

NAME = "manifest.json"
_LIBRARIES = ("metier", "torch", "transformers", "peft", "safetensors", "tokenizers")


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """One part of what was learned from."""

    name: str
    examples: int
    #: Of the examples as JSON Lines, in the order they were learned in.
    sha256: str
    licence: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One training run."""

    name: str
    #: The model it adapts, as declared.
    base: str
    seed: int
    data: list[Data]
    #: The command that trains the same once more.
    command: str = ""
    #: The settings of the run.
    recipe: dict[str, Any]
    steps: int
    #: Read in training; 0 where they were not counted.
    tokens: int = 0
    seconds: float
    device: str
    versions: dict[str, str]
    trained: dt.datetime
    #: Held-out figures by name, for example "flights.exact".
    metrics: dict[str, float] = {}
    #: Hash of each file of weights, SHA-256.
    files: dict[str, str] = {}
    #: The run it went on from.
    start: Manifest | None = None

    @classmethod
    def of(cls, folder: Path, base: str, recipe: Any, begun: float, **known: Any) -> Manifest:
        """The manifest of a run that ends now and began at `begun`, in seconds of the monotonic clock."""
        return cls(
            name=folder.name,
            base=base,
            seed=recipe.seed,
            recipe=msgspec.to_builtins(recipe),
            seconds=round(time.monotonic() - begun, 1),
            device=device(),
            versions=versions(),
            trained=dt.datetime.now(dt.UTC).replace(microsecond=0),
            **known,
        )

    def write(self, folder: Path) -> None:
        """Writes itself into a folder, with the hash of each file of weights there."""
        files = {
            str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*.safetensors"))
        }
        whole = msgspec.structs.replace(self, files=files)
        (folder / NAME).write_bytes(msgspec.json.format(msgspec.json.encode(whole)) + b"\n")


def read(folder: Path) -> Manifest:
    """The manifest in a folder. Raises OSError or msgspec.DecodeError."""
    return msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)


def data(name: str, examples: Iterable[Any], licence: str) -> Data:
    """What is said of examples: how many, and the hash by which others know the same."""
    lines = [msgspec.json.encode(example) for example in examples]
    digest = hashlib.sha256(b"\n".join(lines)).hexdigest()
    return Data(name=name, examples=len(lines), sha256=digest, licence=licence)


def device() -> str:
    """Where tensors are made, for people."""
    if torch.get_default_device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"cpu, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Of Python and the libraries that training depends on."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _LIBRARIES}
