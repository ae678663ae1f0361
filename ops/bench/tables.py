"""A report as rows, and rows as a person reads them: on a terminal, and in README.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from . import figures
from .figures import Report, Side

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- figures: written by `run.py --readme` -->", "<!-- end of figures -->"

#: What the project promises itself, on two cores: label, and whether more is better.
TARGETS = {
    "one specialist, p50 ms": 4.0,
    "three specialists, p50 ms": 8.0,
    "three specialists, tasks/s": 500.0,
    "trip team: first answer, s": 30.0,
    "the door adds, p50 ms": 5.0,
    "POST to first event, p50 ms": 20.0,
    "tasks through the door/s": 300.0,
    "gateway with open streams, MB": 300.0,
    "events lost or doubled": 0.0,
}

Rows = Sequence[Sequence[str]]


class Section(msgspec.Struct, frozen=True):
    """A titled table; the first row is its head."""

    title: str
    rows: list[list[str]]


def sections(report: Report) -> list[Section]:
    """Everything a report holds."""
    found = []
    if report.path:
        found += [_path(report.path), _cpu(report.path), _traffic(report.path.traffic)]
    if report.start:
        found.append(_start(report.start))
    if report.memory:
        found.append(_memory(report.memory))
    if report.door:
        found.append(_door(report.door))
    return found


def _path(path: figures.Path) -> Section:
    load = path.metier.load
    lines: list[tuple[str, Callable[[Side], float]]] = [
        ("one specialist, p50 ms", lambda side: side.one.p50_ms),
        ("one specialist, p95 ms", lambda side: side.one.p95_ms),
        ("one specialist, p99 ms", lambda side: side.one.p99_ms),
        ("three specialists, p50 ms", lambda side: side.three.p50_ms),
        ("three specialists, p95 ms", lambda side: side.three.p95_ms),
        ("three specialists, p99 ms", lambda side: side.three.p99_ms),
        ("three specialists, tasks/s", lambda side: side.load.per_s),
        ("CPU ms per task", lambda side: sum(side.load.cpu_ms.values())),
    ]
    others = {"Serve handles": path.handles, "nats-py": path.nats_py, "adapter": path.adapter}
    head = ["", "target", "Metier"]
    for name in others:
        head += [name, "ratio"]
    rows = [head]
    for label, value in lines:
        own = value(path.metier)
        row = [label, _target(label), _judged(label, own)]
        for other in others.values():
            row += [_number(value(other)), f"{own / value(other):.2f}"]
        rows.append(row)
    title = f"Way of a task: {path.metier.one.tasks} tasks with 1 in flight, {load.seconds:g} s with {load.in_flight}"
    return Section(title, rows)


def _cpu(path: figures.Path) -> Section:
    sides = {"Metier": path.metier, "Serve handles": path.handles, "nats-py": path.nats_py, "adapter": path.adapter}
    names = sorted({name for side in sides.values() for name in side.load.cpu_ms})
    names.sort(key=lambda name: -max(side.load.cpu_ms.get(name, 0) for side in sides.values()))
    rows = [["process", *sides]]
    rows += [[name, *(_number(side.load.cpu_ms.get(name)) for side in sides.values())] for name in names]
    rows.append(["all", *(_number(sum(side.load.cpu_ms.values())) for side in sides.values())])
    return Section("CPU ms per task for three specialists, under load", rows)


def _traffic(traffic: figures.Traffic) -> Section:
    rows = [["message", "per task", "bytes"]]
    rows += [[kind, str(count), str(traffic.size_bytes[kind])] for kind, count in traffic.messages.items()]
    rows.append(["all", str(sum(traffic.messages.values())), str(sum(traffic.size_bytes.values()))])
    title = (
        f"On the broker, per task for three specialists: {traffic.awaited} messages are waited for, {traffic.pulled} "
        f"pulled and acknowledged; the server counted {traffic.server_in:g} in and {traffic.server_out:g} out"
    )
    return Section(title, rows)


def _start(start: dict[str, figures.Start]) -> Section:
    rows = [["team", "ready, s", "first answer, s", "target"]]
    for team, figure in start.items():
        label = f"{team} team: first answer, s"
        rows.append([team, _number(figure.ready_s), _judged(label, figure.first_answer_s), _target(label)])
    return Section("Start: seconds from `metier up`", rows)


def _memory(memory: list[figures.Memory]) -> Section:
    rows = [["process", "USS MiB", "RSS MiB"]]
    rows += [[process.name, f"{process.uss_mib:.0f}", f"{process.rss_mib:.0f}"] for process in memory]
    uss, rss = sum(process.uss_mib for process in memory), sum(process.rss_mib for process in memory)
    rows.append(["all (shared pages counted once for each in RSS)", f"{uss:.0f}", f"{rss:.0f}"])
    return Section("Memory of the trip team after one answer", rows)


def _door(door: figures.Door) -> Section:
    killed = door.killed
    lines: dict[str, float] = {
        "a task over the bus, p50 ms": door.bus_p50_ms,
        "a task over the bus, p99 ms": door.bus_p99_ms,
        "a task over HTTP, p50 ms": door.http_p50_ms,
        "a task over HTTP, p99 ms": door.http_p99_ms,
        "the door adds, p50 ms": door.http_p50_ms - door.bus_p50_ms,
        "POST to first event, p50 ms": door.first_event_p50_ms,
        "POST to first event, p99 ms": door.first_event_p99_ms,
        "tasks through the door/s": door.per_s,
        "idle gateway, MB": door.idle_mb,
        "gateway with open streams, MB": door.streams_mb,
        "ready again after a kill, s": killed.away_s,
        "events lost or doubled": killed.lost + killed.doubled,
    }
    rows = [["", "target", "measured"]]
    rows += [[label, _target(label), _judged(label, value)] for label, value in lines.items()]
    title = (
        f"The HTTP door: {door.tasks} tasks of each kind with 1 in flight, then {door.in_flight}; {door.streams} "
        f"streams; {killed.kills} kills under {killed.clients} clients, {killed.events} events of {killed.tasks} tasks"
    )
    return Section(title, rows)


def _target(label: str) -> str:
    if (target := TARGETS.get(label)) is None:
        return ""
    if target == 0:
        return "0"
    return f"≥ {target:g}" if label.endswith("/s") else f"≤ {target:g}"


def _judged(label: str, value: float) -> str:
    target = TARGETS.get(label)
    if target is None:
        return _number(value)
    met = value >= target if label.endswith("/s") else value <= target
    return f"{_number(value)} {'✓' if met else '✗'}"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 or isinstance(value, int) else f"{value:.2f}"


# ── For whom ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def show(screen: Console, report: Report) -> None:
    """Prints a report."""
    for section in sections(report):
        head, *rows = section.rows
        table = Table(title=section.title, title_justify="left", title_style="bold")
        for number, column in enumerate(head):
            table.add_column(column, justify="left" if number == 0 else "right")
        for row in rows:
            table.add_row(*row)
        screen.print(table)
    screen.print(made(report), style="dim", markup=False, soft_wrap=True)


def made(report: Report) -> str:
    """Where and with what, in one sentence."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.date:%Y-%m-%d %H:%M} UTC, revision {machine.revision}; {machine.cpu}, {machine.cores} cores, "
        f"{machine.memory_gib:g} GiB, load {machine.load:g} before the run; {versions}."
    )


def write_readme(reports: Iterable[tuple[str, Report]]) -> None:
    """Puts reports, each with its file's name, between the two markers of README.md."""
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    blocks = [
        "\n\n".join([*(f"**{section.title}**\n\n{_markdown(section.rows)}" for section in sections(report)), note])
        for name, report in reports
        for note in [f"`results/{name}`: {made(report)}"]
    ]
    README.write_text("\n\n".join([before + BEGIN, *blocks, END + after]))


def _markdown(rows: Rows) -> str:
    head, *rest = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rest))
