"""Figures of an evaluation, stored and shown."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from .. import manifest
from ..measures import Figure

#: The arms, from the one that knows nothing to ours.
FREQUENT, NEAREST, BASE, TRAINED = "most frequent", "nearest neighbour", "base, few-shot", "trained"


#: Answers from which a calibration error says something.
_MANY = 200


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure."""

    #: "router" or "specialist".
    task: str
    #: Data set and part, for example "sgd/test_seen".
    data: str
    arm: str
    measure: str
    figure: Figure
    #: What it must reach, and what it aims at; None where nothing is demanded.
    must: float | None = None
    aim: float | None = None
    #: Whether less is better.
    less: bool = False

    @property
    def met(self) -> bool | None:
        """Whether it reaches what it must; None where nothing is demanded."""
        if self.must is None:
            return None
        return self.figure.value <= self.must if self.less else self.figure.value >= self.must

    @property
    def timed(self) -> bool:
        """Whether it is a time, which another machine does not repeat."""
        return bool({"ms", "seconds"} & set(self.measure.split(", ")))


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    command: str
    date: dt.datetime
    seed: int
    hardware: str
    versions: dict[str, str]
    #: What was evaluated: directory name and hash of the weights.
    models: dict[str, str]
    rows: list[Row]

    @classmethod
    def of(cls, command: str, seed: int, models: dict[str, str], rows: Iterable[Row]) -> Report:
        """Rows, with where and when they were measured."""
        return cls(
            command=command,
            date=dt.datetime.now(dt.UTC).replace(microsecond=0),
            seed=seed,
            hardware=f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
            versions=manifest.versions(),
            models=models,
            rows=list(rows),
        )

    def write(self, path: Path) -> None:
        """Writes itself as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self)) + b"\n")


def read(path: Path) -> Report:
    """A report that was written. Raises OSError or msgspec.DecodeError."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def worse(found: Iterable[Row], known: Iterable[Report]) -> list[Row]:
    """The figures that are surely worse than they should be: their whole interval lies beyond what they must reach or,
    where a known report misses that, beyond the figure there. Left out are times, and calibration errors of few
    answers, which come out too great (Kumar et al. 2019, arXiv 1909.10155)."""
    before = {(row.task, row.data, row.arm, row.measure): row for report in known for row in report.rows}
    made: list[Row] = []
    for row in found:
        if row.must is None or row.timed or (row.measure == "ECE" and row.figure.n < _MANY):
            continue
        old = before.get((row.task, row.data, row.arm, row.measure))
        line = old.figure.value if old is not None and old.met is False else row.must
        if row.figure.low > line if row.less else row.figure.high < line:
            made.append(row)
    return made


def markdown(report: Report) -> str:
    """The report as tables, one for each task."""
    parts: list[str] = []
    for task in dict.fromkeys(row.task for row in report.rows):
        parts += [f"### {task.capitalize()}", "", *_table([row for row in report.rows if row.task == task]), ""]
    models = ", ".join(f"{name} ({digest[:12]})" for name, digest in report.models.items())
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    parts.append(
        f"`{report.command}`: {report.date:%Y-%m-%d}, seed {report.seed}; {report.hardware}; {models}; {versions}."
    )
    return "\n".join(parts)


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| set | measure | arm | figure | 95 % interval | n | must | aim | |",
        "|---|---|---|---:|---|---:|---:|---:|---|",
    ]
    for row in rows:
        figure, mark = row.figure, {None: "", True: "met", False: "missed"}[row.met]
        demands = " | ".join("" if value is None else f"{value:g}" for value in (row.must, row.aim))
        lines.append(
            f"| {row.data} | {row.measure} | {row.arm} | {figure.value:.3f} | {figure.low:.3f} to {figure.high:.3f} "
            f"| {figure.n} | {demands} | {mark} |"
        )
    return lines


def _processor() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
