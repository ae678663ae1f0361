"""The sample catalogue's files: one JSON object each, a note and one record a line."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

FOLDER = Path(__file__).with_name("data")

#: What every record of the catalogue names as its source.
SOURCE = "sample data"

T = TypeVar("T")


def read(name: str, kind: type[T]) -> tuple[T, ...]:
    """The records of one file. Raises msgspec.ValidationError for a record that is not of the kind."""
    return msgspec.convert(_document(name)["records"], type=tuple[kind, ...])  # type: ignore[valid-type]


def note(name: str) -> str:
    """What one file says of itself."""
    return str(_document(name)["note"])


@cache
def _document(name: str) -> dict[str, Any]:
    return msgspec.json.decode((FOLDER / f"{name}.json").read_bytes(), type=dict[str, Any])
