"""Reading what is learned from and tested on: a file of entries of one kind, or an error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from metier.topics.errors import InvalidInput

T = TypeVar("T")


def lines(path: Path, kind: type[T], what: str) -> list[T]:
    """The entries of a file of JSON Lines; `what` they are, for people. Raises InvalidInput."""
    try:
        return msgspec.json.Decoder(kind).decode_lines(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(reason=f"{path} does not hold {what}: {error}") from error


def entries(path: Path, kind: type[T]) -> list[T]:
    """The entries of a YAML file; none if there is no such file. Raises InvalidInput."""
    try:
        return msgspec.yaml.decode(path.read_bytes(), type=list[kind])  # type: ignore[valid-type]
    except FileNotFoundError:
        return []
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(reason=f"{path}: {error}") from error
