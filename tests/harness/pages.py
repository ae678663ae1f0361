"""What a page of `ops` says, for tests to run and to hold against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```\w+\n(?:#|//) (?P<name>[\w.]+): [^\n]*\n.*?^```$", re.MULTILINE | re.DOTALL)
_PRINTED = r"\n*```\n(?P<printed>.*?)^```$"
_PLAIN = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\|(.*)\|$", re.MULTILINE)
_PROMPT = "$ "

#: What is another every time: an id, a flight, a number or time, the name of a day or month.
_OTHER = re.compile(
    r"(?P<id>\b[0-9a-f]{32}\b)|(?P<code>\b[A-Z]{2,3}\d+\b)|(?P<number>\d+)|(?P<rest>…)"
    r"|(?P<day>\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b)"
)
_ANY = {"id": "[0-9a-f]{32}", "code": r"[A-Z]{2,3}\d+", "number": r"\d+", "rest": ".*", "day": r"\w{3}"}


class Command(NamedTuple):
    """A command as a page shows it, and what it printed."""

    line: str
    printed: str


def examples(page: Path) -> dict[str, str]:
    """Code blocks whose first line is a comment that names a file, by that name."""
    found = {match["name"]: match[0] for match in _BLOCK.finditer(page.read_text())}
    return {name: block.partition("\n")[2].removesuffix("```") for name, block in found.items()}


def printed(page: Path, name: str) -> str:
    """What stands below an example: what it printed."""
    after = page.read_text().partition(examples(page)[name] + "```")[2]
    found = re.match(_PRINTED, after, re.MULTILINE | re.DOTALL)
    assert found, f"nothing is printed below {name}"
    return found["printed"].strip()


def blocks(page: Path, language: str) -> list[str]:
    """All code blocks of a language; of none: what is printed on a terminal."""
    return [match["text"] for match in _PLAIN.finditer(page.read_text()) if match["language"] == language]


def commands(page: Path) -> list[Command]:
    """The commands of its terminals, in their order; one may go on over lines that end in a backslash."""
    found = []
    for block in blocks(page, ""):
        for part in re.split(rf"^{re.escape(_PROMPT)}", block, flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            long = next(place for place, line in enumerate(lines) if not line.endswith("\\")) + 1
            found.append(Command("\n".join(lines[:long]), "\n".join(lines[long:]).strip()))
    return found


def table(page: Path, first: str) -> list[list[str]]:
    """The rows of the table whose head begins with this cell."""
    text = page.read_text()
    begin = re.search(rf"^\| *{re.escape(first)} *\|", text, re.MULTILINE)
    assert begin, f"{page} has no table that begins with {first!r}"
    rows = [_cells(match[1]) for match in _ROW.finditer(text[begin.start() :].partition("\n\n")[0])]
    return rows[2:]


def quoted(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def alike(expected: str, printed: str) -> bool:
    """Whether the same was printed, but for ids, numbers, days, and what the page leaves out as "…"."""
    parts, at = [], 0
    for match in _OTHER.finditer(expected):
        assert match.lastgroup
        parts += [re.escape(expected[at : match.start()]), _ANY[match.lastgroup]]
        at = match.end()
    pattern = "".join((*parts, re.escape(expected[at:])))
    return re.fullmatch(pattern, printed.strip(), re.DOTALL) is not None


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("|")]
