"""Requests written by hand, each in English and in French, and whether they say what is nobody else's business.

A team has those it learns from in `training/private.yaml`, and those it is tested on in `evaluation/private.yaml`.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from . import files
from .examples import Example
from .phrases import Split, split_of

NAME = "private.yaml"
#: Of those to learn from, those for choosing.
_DEV = 0.12


class Confided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The same request in both languages, and whether it is private."""

    en: str
    fr: str
    private: bool

    @property
    def examples(self) -> list[Example]:
        """One in each language; nobody judged whom they need."""
        texts = {"en": self.en, "fr": self.fr}
        return [
            Example(text=text, labels=(), routed=False, private=self.private, language=language, source="private")
            for language, text in texts.items()
        ]

    @property
    def split(self) -> Split:
        """Where it belongs, by the hash of its English."""
        return split_of(self.en, _DEV)


def read(folder: Path) -> list[Confided]:
    """Those in a folder; none if it has no such file. Raises InvalidInput."""
    return files.entries(folder / NAME, Confided)
