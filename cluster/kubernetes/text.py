"""YAML as people read it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and every list in full: no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        """All values are written where they stand."""
        return True


def _text(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _text)


def written(document: Any) -> str:
    """One document."""
    return all_written([document])


def all_written(documents: Iterable[Any]) -> str:
    """Documents, keys as they were made, with a line between them."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
