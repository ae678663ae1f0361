"""A report as tables."""

from __future__ import annotations

from collections.abc import Sequence

from . import decoding, figures
from .figures import Cell, Report, Traffic
from .tables import Section, judged, number, target

METIER = "Metier"
#: Whom the path is compared with, in the order of the columns; the variants have tables of their own.
OTHERS = ("tracing off", "handles", "handles, fastest", "nats-py", "adapter")
#: Shapes as they stand in tables.
SHAPES = {"one": "one specialist", "three": "three specialists", "chain": "a chain of three"}


def sections(report: Report) -> list[Section]:
    """Everything a report holds."""
    found = []
    if report.path:
        found += [_path(report.path), _levels(report.path), _replicas(report.path), _cpu(report.path)]
        found.append(_traffic(report.path.traffic))
    if report.peers:
        found += [_peers(report.peers), _durable(report.peers)]
    if report.start:
        found.append(_start(report.start))
    if report.elastic:
        found.append(_elastic(report.elastic))
    if report.memory:
        found.append(_memory(report.memory))
    if report.door:
        found.append(_door(report.door))
    if report.engine:
        found += decoding.sections(report.engine)
    return found


def at(cells: Sequence[Cell], shape: str, in_flight: int) -> Cell:
    """The figures of one load; 0 in flight is the schedule."""
    return next(cell for cell in cells if (cell.shape, cell.in_flight) == (shape, in_flight))


def peak(cells: Sequence[Cell]) -> Cell:
    """Where most tasks for three specialists were done in a second."""
    return max((cell for cell in cells if cell.shape == "three" and cell.in_flight), key=lambda cell: cell.per_s)


def compared(cells: Sequence[Cell]) -> dict[str, float]:
    """What all contenders are measured by."""
    one, three, loaded = at(cells, "one", 1), at(cells, "three", 1), at(cells, "three", 64)
    return {
        "one specialist, p50 ms": one.p50_ms,
        "one specialist, p95 ms": one.p95_ms,
        "one specialist, p99 ms": one.p99_ms,
        "three specialists, p50 ms": three.p50_ms,
        "three specialists, p95 ms": three.p95_ms,
        "three specialists, p99 ms": three.p99_ms,
        "three specialists, 64 in flight, tasks/s": loaded.per_s,
        "three specialists, 64 in flight, CPU ms per task": sum(loaded.cpu_ms.values()),
    }


def _path(path: figures.Path) -> Section:
    own = path.contenders[METIER]
    others = {name: compared(path.contenders[name]) for name in OTHERS}
    rows = [["", "target", METIER, *others]]
    for label, value in compared(own).items():
        beside = [f"{number(other[label])} ({value / other[label]:.2f})" for other in others.values()]
        rows.append([label, target(label), judged(label, value), *beside])
    only = {
        "three specialists, peak tasks/s": peak(own).per_s,
        "three specialists, p99 at 80 % of peak ÷ p50": at(own, "three", 0).p99_ms / at(own, "three", 1).p50_ms,
    }
    rows += [[label, target(label), judged(label, value), *[""] * len(others)] for label, value in only.items()]
    title = f"Way of a task, medians of {path.rounds} rounds; in brackets Metier's figure divided by the other"
    return Section(title, rows)


def _levels(path: figures.Path) -> Section:
    rows = [["", "p50 ms", "p95 ms", "p99 ms", "tasks/s", "CPU ms per task"]]
    order = list(SHAPES)
    cells = [*path.contenders[METIER], *path.contenders["a chain of three"]]
    for cell in sorted(cells, key=lambda cell: (order.index(cell.shape), cell.in_flight == 0, cell.in_flight)):
        load = f"{cell.in_flight} in flight" if cell.in_flight else f"on schedule, {number(cell.rate)} a second"
        values = (cell.p50_ms, cell.p95_ms, cell.p99_ms, cell.per_s, sum(cell.cpu_ms.values()))
        rows.append([f"{SHAPES[cell.shape]}, {load}", *map(number, values)])
    return Section("Metier by load; on schedule: 80 % of the peak, timed from when a task was meant to begin", rows)


def _replicas(path: figures.Path) -> Section:
    several = {"1": path.contenders[METIER]}
    several |= {name.split()[0]: path.contenders[name] for name in path.contenders if name.endswith(" replicas")}
    rows = [["replicas of each actor", *several]]
    for shape in ("one", "three"):
        single = [at(cells, shape, 1) for cells in several.values()]
        rows.append([f"{SHAPES[shape]}, p50 ms", *(number(cell.p50_ms) for cell in single)])
    for level in (16, 64, 256):
        loaded = [at(cells, "three", level) for cells in several.values()]
        label = f"{SHAPES['three']}, {level} in flight"
        rows.append([f"{label}, tasks/s", *(number(cell.per_s) for cell in loaded)])
        rows.append([f"{label}, p99 ms", *(number(cell.p99_ms) for cell in loaded)])
        rows.append([f"{label}, CPU ms per task", *(number(sum(cell.cpu_ms.values())) for cell in loaded)])
    return Section("More replicas, on the same cores", rows)


def _cpu(path: figures.Path) -> Section:
    sides = {name: at(path.contenders[name], "three", 64).cpu_ms for name in (METIER, *OTHERS)}
    names = sorted({name for side in sides.values() for name in side})
    names.sort(key=lambda name: -max(side.get(name, 0) for side in sides.values()))
    rows = [["process", *sides]]
    rows += [[name, *(number(side.get(name)) for side in sides.values())] for name in names]
    rows.append(["all", *(number(sum(side.values())) for side in sides.values())])
    return Section("CPU ms per task for three specialists, 64 in flight", rows)


def _traffic(traffic: Traffic) -> Section:
    rows = [["message", "per task", "bytes"]]
    rows += [[kind, str(count), str(traffic.size_bytes[kind])] for kind, count in traffic.messages.items()]
    rows.append(["all", str(sum(traffic.messages.values())), str(sum(traffic.size_bytes.values()))])
    title = (
        f"On the broker, per task for three specialists: {traffic.awaited} messages are waited for, {traffic.pulled} "
        f"pulled and acknowledged; the server counted {traffic.server_in:g} in and {traffic.server_out:g} out"
    )
    return Section(title, rows)


def _peers(peers: figures.Peers) -> Section:
    own = at(peers.peers[METIER].cells, "three", 64).per_s
    rows = [
        ["", "one, p50 ms", "three, p50 ms", "three, p99 ms", "three, tasks/s", "Metier's, times", "CPU ms", "durable"]
    ]
    for name, peer in peers.peers.items():
        if peer.absent:
            rows.append([name, *["not measured"] * 6, peer.durable])
            continue
        one, three, loaded = (at(peer.cells, *load) for load in (("one", 1), ("three", 1), ("three", 64)))
        label = f"{name}: tasks/s, times" if peer.durable == "no" else "durable peers: tasks/s, times"
        times = "" if name == METIER else f"{judged(label, own / loaded.per_s)} {target(label)}".strip()
        values = (one.p50_ms, three.p50_ms, three.p99_ms, loaded.per_s)
        rows.append([name, *map(number, values), times, number(sum(loaded.cpu_ms.values())), peer.durable])
    title = f"Peers: p50 and p99 with one in flight, tasks/s and CPU per task with 64; medians of {peers.rounds} rounds"
    return Section(title, rows)


def _durable(peers: figures.Peers) -> Section:
    rows = [["", "what is kept", "versions"]]
    for name, peer in peers.peers.items():
        kept = peer.absent.replace("\n", " ") or peer.kept or "nothing"
        rows.append([name, kept, ", ".join(f"{package} {version}" for package, version in peer.versions.items())])
    return Section("What of an accepted task is kept", rows)


def _start(start: dict[str, figures.Start]) -> Section:
    rows = [["team", "ready, s", "first answer, s", "target"]]
    for team, figure in start.items():
        label = f"{team} team: first answer, s"
        rows.append([team, number(figure.ready_s), judged(label, figure.first_answer_s), target(label)])
    return Section("Start: seconds from `metier up`", rows)


def _elastic(elastic: figures.Elastic) -> Section:
    lines = {
        "zero to first answer, its model elsewhere, s": elastic.shared_s,
        "zero to first answer, with its model, s": elastic.own_s,
        "zero to first answer, with its model, the slowest, s": elastic.slowest_s,
        "flood to the decision to grow, s": elastic.decided_s,
    }
    rows = [["", "target", "measured"]]
    rows += [[label, target(label), judged(label, value)] for label, value in lines.items()]
    title = f"Scale: medians of {elastic.samples} specialists that had no replica; {elastic.flood} tasks at once"
    return Section(title, rows)


def _memory(memory: list[figures.Memory]) -> Section:
    rows = [["process", "USS MiB", "RSS MiB"]]
    rows += [[process.name, f"{process.uss_mib:.0f}", f"{process.rss_mib:.0f}"] for process in memory]
    uss, rss = sum(process.uss_mib for process in memory), sum(process.rss_mib for process in memory)
    rows.append(["all (shared pages counted once for each in RSS)", f"{uss:.0f}", f"{rss:.0f}"])
    if bare := [process.uss_mib for process in memory if process.bare]:
        label = "an idle actor without a model, USS MiB"
        rows.append([f"{label}: the largest ({target(label)})", judged(label, max(bare)), ""])
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
    rows += [[label, target(label), judged(label, value)] for label, value in lines.items()]
    title = (
        f"The HTTP door: {door.tasks:,} tasks of each kind with 1 in flight, then {door.in_flight}; "
        f"{door.streams:,} streams; {killed.kills} kills under {killed.clients} clients, "
        f"{killed.events:,} events of {killed.tasks:,} tasks"
    )
    return Section(title, rows)
