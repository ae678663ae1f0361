"""The bench's own arithmetic: loads, medians, targets and tables."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2]))  # ops/bench is no package of the distribution

from ops.bench import tables
from ops.bench.contender import THREE, Order, Ready, Started, carry_out
from ops.bench.figures import Cell, Door, Killed, Machine, Peer, Peers, Report, Traffic
from ops.bench.figures import Path as PathFigures
from ops.bench.load import beginnings, in_flight, on_schedule, percentile
from ops.bench.rounds import medians
from ops.bench.sections import OTHERS, peak, sections
from ops.bench.tables import Section, Target

MACHINE = Machine(
    date=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    revision="abc",
    system="Linux",
    cpu="cpu",
    cores=2,
    memory_gib=1.0,
    load=0.0,
    versions={},
)


def cell(shape: str = "three", in_flight: int = 64, per_s: float = 100.0, way: str = "") -> Cell:
    return Cell(
        shape=shape,
        way=way,
        in_flight=in_flight,
        rate=0.0,
        tasks=100,
        seconds=1.0,
        per_s=per_s,
        p50_ms=4.0,
        p95_ms=8.0,
        p99_ms=20.0,
        cpu_ms={"client": 0.5, "router": 1.0},
    )


def cells(per_s: float = 100.0) -> list[Cell]:
    loads = [("one", 1), ("one", 16), ("three", 1), ("three", 16), ("three", 64), ("three", 256), ("three", 0)]
    return [cell(shape, number, per_s) for shape, number in loads]


class OneAtATime:
    """Answers at once, but for the first, which holds up all others."""

    def __init__(self, stall_s: float) -> None:
        self._lock, self._stall_s = asyncio.Lock(), stall_s

    async def ask(self, text: str) -> None:
        async with self._lock:
            stall_s, self._stall_s = self._stall_s, 0.0
            await asyncio.sleep(stall_s)


async def test_on_schedule_every_task_that_a_stall_held_up_has_waited() -> None:
    sample = await on_schedule(OneAtATime(0.2).ask, THREE, rate=100, seconds=0.4)

    assert 40 == len(sample.latencies_s)
    # Twenty were meant to begin while the first stood still; those of its first half waited for half of it and more.
    assert 9 <= sum(latency > 0.1 for latency in sample.latencies_s)


async def test_one_after_the_other_only_the_stalled_task_has_waited() -> None:
    sample = await in_flight(OneAtATime(0.2).ask, THREE, number=1, seconds=0.3)

    assert 1 == sum(latency >= 0.2 for latency in sample.latencies_s)


async def test_all_tasks_that_began_have_ended_and_count() -> None:
    ended: list[str] = []

    async def ask(text: str) -> None:
        await asyncio.sleep(0.02)
        ended.append(text)

    sample = await in_flight(ask, THREE, number=8, seconds=0.05)

    assert len(ended) == len(sample.latencies_s)
    assert 0 == len(sample.latencies_s) % 8
    assert sample.seconds >= 0.05


def test_a_schedule_is_evenly_spaced_and_never_empty() -> None:
    assert [0.0, 0.25, 0.5, 0.75] == beginnings(rate=4, seconds=1)
    assert [0.0] == beginnings(rate=0.1, seconds=1)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 51), (0.99, 100), (1.0, 100)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: int) -> None:
    assert expected == percentile(range(100, 0, -1), share)


async def test_an_order_is_carried_out_by_the_way_it_names() -> None:
    asked: list[str] = []

    async def ask(text: str) -> None:
        await asyncio.sleep(0.001)
        asked.append(text)

    async def wrong(text: str) -> None:
        raise AssertionError(text)

    reply = await carry_out(Order(text="red", seconds=0.05, way="other"), Started(Ready(), {"": wrong, "other": ask}))

    assert {"red"} == set(asked)
    assert len(asked) == reply.tasks
    assert 1.0 <= reply.p50_ms <= reply.p95_ms <= reply.p99_ms


def test_a_figure_is_the_median_of_its_rounds() -> None:
    rounds = [[cell(per_s=value)] for value in (90.0, 300.0, 100.0)]

    (found,) = medians(rounds)

    assert (100.0, 300, 3.0) == (found.per_s, found.tasks, found.seconds)
    assert {"client": 0.5, "router": 1.0} == found.cpu_ms


def test_rounds_that_measured_different_things_have_no_median() -> None:
    with pytest.raises(ValueError, match="shorter"):
        medians([[cell()], []])


def test_a_schedule_is_not_the_peak() -> None:
    assert 300.0 == peak([cell(in_flight=16, per_s=300), cell(in_flight=0, per_s=900), cell("one", per_s=999)]).per_s


@pytest.mark.parametrize(
    ("target", "value", "met"),
    [(Target(3), 3.0, True), (Target(3), 3.1, False), (Target(10, least=True), 9.9, False)],
)
def test_a_target_says_whether_it_is_met(target: Target, value: float, met: bool) -> None:
    assert met is target.met(value)


def report() -> Report:
    contenders = {name: cells(50.0) for name in (*OTHERS, "2 replicas", "4 replicas")}
    chain = [cell("chain", number) for number in (1, 16, 256)]
    traffic = Traffic(messages={"task": 1}, size_bytes={"task": 300}, awaited=1, pulled=1)
    peers = {
        "Metier": Peer(durable="yes", kept="tasks", versions={}, cells=cells(100.0)),
        "Ray Serve handles": Peer(durable="no", kept="", versions={"ray": "2"}, cells=cells(20.0)),
        "Queue": Peer(durable="yes", kept="tasks", versions={}, cells=cells(40.0)),
        "Absent": Peer(durable="no", kept="", versions={}, cells=[], absent="there is\nno server"),
    }
    return Report(
        machine=MACHINE,
        path=PathFigures(
            rounds=3, contenders={"Metier": cells(), "a chain of three": chain} | contenders, traffic=traffic
        ),
        peers=Peers(rounds=5, peers=peers),
    )


def row(section: Section, label: str) -> list[str]:
    return next(row for row in section.rows if row[0] == label)


def test_every_row_of_every_table_is_as_long_as_its_head() -> None:
    for section in sections(report()):
        assert {len(section.rows[0])} == {len(row) for row in section.rows}, section.title


def test_tables_judge_by_the_targets() -> None:
    path, peers = sections(report())[0], sections(report())[5]

    assert ["≤ 5", "4.00 ✓"] == row(path, "three specialists, p50 ms")[1:3]
    assert "100 ✗" == row(path, "three specialists, peak tasks/s")[2]
    assert "5.00 ✓" == row(path, "three specialists, p99 at 80 % of peak ÷ p50")[2]
    assert "50.0 (2.00)" == row(path, "three specialists, 64 in flight, tasks/s")[3]
    assert "5.00 ✗ ≥ 10" == row(peers, "Ray Serve handles")[5]
    assert "2.50 ✓ ≥ 2" == row(peers, "Queue")[5]
    assert "not measured" == row(peers, "Absent")[1]


def test_every_target_of_a_path_stands_in_its_table() -> None:
    labels = {row[0] for section in sections(report()) for row in section.rows}

    assert {label for label in tables.TARGETS if label.startswith(("one", "three"))} <= labels


def test_the_door_is_judged_by_what_it_adds_and_by_what_it_lost() -> None:
    lossy = Killed(kills=3, clients=32, tasks=100, events=500, lost=1, doubled=0, away_s=1.5)
    door = Door(
        tasks=1000,
        bus_p50_ms=4.0,
        bus_p99_ms=9.0,
        http_p50_ms=5.0,
        http_p99_ms=12.0,
        first_event_p50_ms=8.0,
        first_event_p99_ms=21.0,
        in_flight=64,
        per_s=250.0,
        streams=1000,
        idle_mb=118.0,
        streams_mb=161.0,
        broker_mb=90.0,
        killed=lossy,
    )
    (section,) = sections(Report(machine=MACHINE, door=door))
    rows = {row[0]: row[1:] for row in section.rows}

    assert ["≤ 5", "1.00 ✓"] == rows["the door adds, p50 ms"]
    assert ["≥ 300", "250 ✗"] == rows["tasks through the door/s"]
    assert ["≤ 0", "1 ✗"] == rows["events lost or doubled"]
