"""What a person sees: lines, tables and bars, as functions of messages."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any

from rich.console import Console

from metier.cluster.sizing import Decision
from metier.cluster.tables import age, bar, live_table, tree, waterfall
from metier.cluster.traces import Record
from metier.cluster.view import Progress, Steps, cost_line, findings, gist, graph, line_of, show_answer
from metier.cluster.watch.standing import rows
from metier.topics.bus import Lag
from metier.topics.messages import Answer, Call, Cost, Event, Finding, PlanGraph, PlanNode, Presence, State

FREE = Cost(usd=0, large_model_usd=0, prompt_tokens=10, output_tokens=4, model_seconds=0.5)
PLAN = PlanGraph(
    nodes=(
        PlanNode(id="flights", specialist="flights", needs=()),
        PlanNode(id="hotels", specialist="hotels", needs=()),
        PlanNode(id="secretary", specialist="secretary", needs=("flights", "hotels")),
    )
)


def event(what: Any, node: str = "flights", **fields: Any) -> Event:
    return Event(task_id="t", tenant="default", turn=1, what=what, node=node, specialist=node, **fields)


def answer(**fields: Any) -> Answer:
    whole: dict[str, Any] = {
        "task_id": "t1", "tenant": "default", "turn": 1, "status": State.OK, "text": "Go by train.", "plan": PLAN,
        "results": {}, "missing": (), "cost": FREE, "trace_id": "",
    }  # fmt: skip
    return Answer(**(whole | fields))


def record(span: str, parent: str = "", start_ms: float = 0, end_ms: float = 10, **fields: Any) -> Record:
    start_ns, end_ns = round(start_ms * 1e6), round(end_ms * 1e6)
    whole: dict[str, Any] = {"trace": "t", "service": "router", "pid": 1, "kind": "internal", "name": span}
    return Record(span=span, parent=parent, start_ns=start_ns, end_ns=end_ns, **(whole | fields))


def presence(actor: str, **fields: Any) -> Presence:
    whole: dict[str, Any] = {
        "replica": "r", "pid": 1, "host": "h", "stream": "S", "consumer": actor, "in_flight": 0, "handled": 2,
        "failed": 0, "rate": 0.5, "p50_ms": 1.0, "p99_ms": 2.0,
    }  # fmt: skip
    return Presence(actor=actor, **(whole | fields))


def console(*, terminal: bool = False, width: int = 100) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, highlight=False)


def shown(screen: Console) -> str:
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


# ── One task ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_is_one_line() -> None:
    assert "flights, hotels; secretary after flights, hotels" == graph(PLAN)


def test_a_finished_specialist_is_one_line_with_its_seconds() -> None:
    done = event("finished", state=State.OK, text="\nTrain 9012, 08:31\nmore", seconds=0.214)

    assert "flights: ok in 0.21 s: Train 9012, 08:31" == line_of(done)


def test_tokens_are_no_line_of_their_own() -> None:
    assert line_of(event("tokens", text="Ba")) is None


def test_the_gist_of_a_text_is_its_first_line_and_of_a_list_its_first_item() -> None:
    assert "Train" == gist("\n  \n Train \nBus")
    assert "Hotels in Lyon: Hôtel Bleu €90 (and 2 more lines)" == gist("Hotels in Lyon:\n  Hôtel Bleu €90\n b\n c")
    assert "" == gist(" ")


def test_output_that_is_no_terminal_has_no_control_codes() -> None:
    screen = console()
    with Progress(screen) as progress:
        progress.show(event("planned", node="", plan=PLAN))
        progress.show(event("started"))
        progress.finish(answer())
    show_answer(screen, answer())

    assert "\x1b" not in shown(screen)
    assert "Go by train." in shown(screen)


def test_text_of_a_model_is_never_read_as_markup() -> None:
    screen = console(terminal=True)

    show_answer(screen, answer(text="[red]not red[/red] [/] :smile:"))

    assert "[red]not red[/red] [/] :smile:" in shown(screen)


def test_a_terminal_shows_each_node_with_its_call_at_the_end() -> None:
    screen = console(terminal=True)
    found = Finding(
        state=State.OK,
        specialist="flights",
        text="Train 9012",
        call=Call(tool="find", said={"to": "Paris", "on": None}),
    )
    screen.print(findings(answer(results={"flights": found}), {"flights": 0.2}))

    assert "find(to=Paris)" in shown(screen)
    assert "no result" in shown(screen)


def test_lost_events_do_not_lose_the_answer() -> None:
    with Progress(console(terminal=True)) as progress:
        progress.show(event("finished", node="hotels", state=State.OK, text="Hotel"))
        progress.finish(answer())

    assert State.OK is progress.work["hotels"].state


def test_tokens_gather_until_the_node_ends() -> None:
    with Progress(console()) as progress:
        for text in ("Bar", "oque"):
            progress.show(event("tokens", node="large", text=text))

    assert "Baroque" == progress.work["large"].text


def test_missing_input_shows_the_command_that_goes_on() -> None:
    screen = console()

    show_answer(screen, answer(status=State.INPUT_REQUIRED, missing=("flights.origin",)))

    assert "missing: flights.origin" in shown(screen)
    assert 'metier ask --task t1 "..."' in shown(screen)


def test_a_note_is_shown() -> None:
    screen = console()

    show_answer(screen, answer(notes=("No large model is configured.",)))

    assert "note: No large model is configured." in shown(screen)


def test_cost_is_compared_with_the_large_model() -> None:
    cost = Cost(usd=0, large_model_usd=0.01234, prompt_tokens=10, output_tokens=4, model_seconds=0.5)

    assert (
        "$0.0000 here · about $0.0123 for the same tokens on the large model (priced as tier large) · "
        "10 tokens read, 4 written, 0.5 s of models"
    ) == cost_line(cost, "large")


def test_without_a_price_there_is_no_comparison() -> None:
    assert "$0.0000 here · 10 tokens read, 4 written, 0.5 s of models" == cost_line(FREE, "large")


def test_steps_are_lines_where_nobody_looks() -> None:
    screen = console()
    with Steps(screen) as steps:
        steps.tell("ray", "starting")
        steps.tell("ray", "ready")

    assert ["ray: starting", "ray: ready"] == [line.partition(" s  ")[2] for line in shown(screen).splitlines()]


# ── Tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_actor_without_a_replica_is_down() -> None:
    row = rows({"hotels": Lag(waiting=3, in_flight=0)}, [])[0]

    assert (0, 3, "down") == (row.replicas, row.waiting, row.note)


def test_replicas_of_an_actor_add_up() -> None:
    row = rows({"hotels": Lag(0, 0)}, [presence("hotels"), presence("hotels", p99_ms=9.0), presence("router")])[0]

    assert (2, 4, 1.0, 9.0) == (row.replicas, row.handled, row.rate, row.p99_ms)


def test_a_stand_in_is_told_once() -> None:
    note = "stand-in: no large model is configured"

    assert note == rows({"large": Lag(0, 0)}, [presence("large", note=note), presence("large", note=note)])[0].note


def test_a_span_stands_below_its_parent() -> None:
    records = [record("b", "a", 1), record("root"), record("a", "root", 1), record("c", "root", 5)]

    assert [(0, "root"), (1, "a"), (2, "b"), (1, "c")] == [(depth, r.span) for depth, r in tree(records)]


def test_a_span_whose_parent_is_not_kept_is_a_root() -> None:
    assert [(0, "a")] == [(depth, r.span) for depth, r in tree([record("a", "elsewhere")])]


def test_a_bar_lies_where_its_time_was() -> None:
    assert "  ━━━━━   " == bar(record("a", start_ms=2, end_ms=7), 0, 10_000_000, 10)


def test_a_bar_is_never_nothing_and_never_too_long() -> None:
    assert "         ━" == bar(record("a", start_ms=10, end_ms=10), 0, 10_000_000, 10)


def test_a_failed_span_says_why() -> None:
    screen = console()
    screen.print(waterfall("t", [record("root"), record("a", "root", error="ToolFailed: no such city")], width=100))

    assert "ToolFailed: no such city" in shown(screen)
    assert "2 spans" in shown(screen)


def test_an_age_is_told_in_its_largest_unit() -> None:
    assert ["5 s", "2 min", "3 h", "2 d"] == [
        age(dt.timedelta(seconds=s).total_seconds()) for s in (5, 130, 9999, 180_000)
    ]


def test_the_live_table_shows_the_bounds_the_tokens_and_why_an_actor_was_scaled() -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    seen = rows({"flights": Lag(7, 3), "hotels": Lag(0, 0)}, [presence("flights", in_flight=3), presence("flights")])
    why = Decision(replicas=2, before=1, at=now - dt.timedelta(seconds=9), why="41 waiting, 8 in flight, 0.1 s each")
    screen = console(width=160)
    screen.print(live_table("trip", seen, {"flights": 4, "hotels": 1}, {"flights": 31.6}, {"flights": why}, now))
    _, _, flights, hotels, *_ = (line for line in shown(screen).splitlines() if line.strip() and "─" not in line)
    assert "flights 2/4 7 3 1.0 1.0 2.0 32 9 s ago, 1 → 2: 41 waiting, 8 in flight, 0.1 s each" == " ".join(
        flights.split()
    )
    assert "hotels 0/1 0 0 0.0" == " ".join(hotels.split())
