"""Tables for an operator: the team's status, the waterfall of a trace, dead messages, models."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from .sizing import Decision
from .traces import Record
from .watch.graves import Grave
from .watch.standing import Row

# ── Status ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def status_table(team: str, actors: Sequence[Row]) -> Table:
    """The team as a table."""
    table = Table(title=f"team {team}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("actor", style="bold", no_wrap=True)
    for name in ("replicas", "waiting", "in flight", "handled", "failed", "per s", "p50 ms", "p99 ms", "tokens"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("model", overflow="fold")
    table.add_column("note", overflow="fold")
    for row in actors:
        table.add_row(
            row.actor,
            Text(str(row.replicas), style="" if row.replicas else "red"),
            Text(str(row.waiting), style="yellow" if row.waiting else ""),
            str(row.in_flight),
            str(row.handled),
            Text(str(row.failed), style="red" if row.failed else ""),
            f"{row.rate:.1f}",
            f"{row.p50_ms:.1f}" if row.p50_ms else "",
            f"{row.p99_ms:.1f}" if row.p99_ms else "",
            str(row.output_tokens or ""),
            Text(row.model),
            Text(row.note, style="yellow" if row.replicas else "red"),
        )
    return table


def live_table(
    team: str,
    actors: Sequence[Row],
    most: Mapping[str, int],
    tokens_s: Mapping[str, float],
    decided: Mapping[str, Decision],
    now: dt.datetime,
) -> Table:
    """The team as `top` draws it: replicas of those it may have, and why it has so many."""
    table = Table(title=f"team {team}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("actor", style="bold", no_wrap=True)
    for name in ("replicas", "waiting", "in flight", "per s", "p50 ms", "p99 ms", "tokens/s", "failed"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last scaled", overflow="fold")
    for row in actors:
        table.add_row(
            row.actor,
            Text(f"{row.replicas}/{most[row.actor]}", style="" if row.replicas else "red"),
            Text(str(row.waiting), style="yellow" if row.waiting else ""),
            str(row.in_flight),
            f"{row.rate:.1f}",
            f"{row.p50_ms:.1f}" if row.p50_ms else "",
            f"{row.p99_ms:.1f}" if row.p99_ms else "",
            f"{tokens_s[row.actor]:.0f}" if tokens_s.get(row.actor) else "",
            Text(str(row.failed or ""), style="red"),
            _scaled(decided.get(row.actor), now),
        )
    return table


def _scaled(decision: Decision | None, now: dt.datetime) -> str:
    if decision is None:
        return ""
    since = age((now - decision.at).total_seconds())
    return f"{since} ago, {decision.before} → {decision.replicas}: {decision.why}"


# ── Waterfall ────────────────────────────────────────────────────────────────────────────────────────────────────────


def tree(records: Sequence[Record]) -> list[tuple[int, Record]]:
    """The spans of a trace, each after its parent with its depth; siblings in order of their start."""
    known = {record.span for record in records}
    children: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record.start_ns):
        children.setdefault(record.parent if record.parent in known else "", []).append(record)
    ordered: list[tuple[int, Record]] = []
    left = [(0, record) for record in reversed(children.get("", []))]
    while left:
        depth, record = left.pop()
        ordered.append((depth, record))
        left += [(depth + 1, child) for child in reversed(children.get(record.span, []))]
    return ordered


def bar(record: Record, start_ns: int, end_ns: int, columns: int) -> str:
    """The span on the trace's time axis; at least one mark, however short."""
    whole = max(end_ns - start_ns, 1)
    begin = min(columns - 1, (record.start_ns - start_ns) * columns // whole)
    length = max(1, min(columns - begin, round((record.end_ns - record.start_ns) * columns / whole)))
    return " " * begin + "━" * length + " " * (columns - begin - length)


def waterfall(trace_id: str, records: Sequence[Record], *, width: int) -> Table:
    """The spans of a trace on one time axis, failed ones marked with why."""
    start_ns, end_ns = min(r.start_ns for r in records), max(r.end_ns for r in records)
    processes = len({(r.service, r.pid) for r in records})
    title = f"trace {trace_id} · {(end_ns - start_ns) / 1e6:.1f} ms · {len(records)} spans · {processes} processes"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
    names = min(48, width // 3)
    columns = max(16, min(60, width - names - 28))
    for depth, record in tree(records):
        name = Text("  " * depth + record.name, no_wrap=True, overflow="ellipsis", style="red" if record.error else "")
        name.truncate(names, overflow="ellipsis")
        style = "red" if record.error else "cyan" if record.kind == "internal" else "blue"
        drawn = Text(bar(record, start_ns, end_ns, columns), style=style)
        table.add_row(name, Text(record.service, style="dim"), drawn, Text(f"{record.ms:9.1f} ms", style="dim"))
        if record.error:
            table.add_row(Text("  " * depth + f"✗ {record.error}", style="red", overflow="fold"))
    return table


# ── Dead messages and models ─────────────────────────────────────────────────────────────────────────────────────────


def dead_table(graves: Sequence[Grave], now: dt.datetime) -> Table:
    """Dead messages, one a line."""
    table = Table("number", "age", "actor", "reason", "subject", box=box.SIMPLE_HEAD, pad_edge=False)
    for grave in graves:
        dead = grave.dead
        since = age((now - grave.at).total_seconds()) if grave.at else ""
        table.add_row(str(grave.number), since, dead.actor, Text(dead.reason, overflow="fold"), Text(dead.subject))
    return table


def age(seconds: float) -> str:
    """A span of time in its largest unit."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
