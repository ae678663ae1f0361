"""The examples of a page, so that tests run what a reader copies."""

from __future__ import annotations

import re
from pathlib import Path

_BLOCK = re.compile(r"^```\w+\n(?:#|//) (?P<name>[\w.]+): [^\n]*\n.*?^```$", re.MULTILINE | re.DOTALL)


def examples(page: Path) -> dict[str, str]:
    """Code blocks whose first line is a comment that names a file, by that name."""
    found = {match["name"]: match[0] for match in _BLOCK.finditer(page.read_text())}
    return {name: block.partition("\n")[2].removesuffix("```") for name, block in found.items()}
