"""Evaluation without a model: what is counted, what is demanded, how it is shown."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec
import pytest

from metier.actors.engines.base import Routing
from metier.actors.learning import pairs
from metier.actors.learning.evaluation import calls, cases, report, routes
from metier.actors.learning.evaluation.calls import Answer
from metier.actors.learning.evaluation.cases import Case
from metier.actors.learning.evaluation.report import FREQUENT, TRAINED, Report, Row
from metier.actors.learning.examples import Example
from metier.actors.learning.measures import Figure
from metier.actors.learning.pairs import Pair
from metier.actors.tools.base import Request
from metier.actors.tools.schema import Described
from metier.topics.errors import InvalidInput

OFFER = Described("go", {"properties": {"city": {"type": "string"}}}).offer(
    Request(text="to Rome", today=dt.date(2026, 1, 1))
)
PAIRS = [
    Pair(en="a flight", fr="un vol", specialists=("flights",)),
    Pair(
        en="a flight and a bed",
        fr="un vol et un lit",
        specialists=(
            "flights",
            "hotels",
        ),
    ),
    Pair(en="why?", fr="pourquoi ?", specialists=(), open=True),
]


class ByWord:
    """An encoder that knows English nouns alone."""

    model = "by word"

    async def load(self) -> None: ...

    async def close(self) -> None: ...

    async def route(self, text: str) -> Routing:
        found = {name: float(word in text) for name, word in {"flights": "flight", "hotels": "bed"}.items()}
        return Routing(specialists=found, open=float("why" in text), model="", tokens=1, seconds=0.0)


def planned(routing: Routing) -> frozenset[str] | None:
    return None if routing.open else frozenset(name for name, chance in routing.specialists.items() if chance)


def case(data: str, right: bool, group: str = "") -> Case:
    return Case(
        data=data,
        group=group or f"{data}{right}",
        text="to Rome",
        offers=[OFFER],
        today=dt.date(2026, 1, 1),
        right=lambda call: right,
        slots=lambda call: (1, 2, 2),
    )


def figures(rows: list[Row], arm: str) -> dict[tuple[str, str], float]:
    return {(row.data, row.measure): row.figure.value for row in rows if row.arm == arm}


async def test_a_router_is_right_where_open_or_the_whole_set_is() -> None:
    learned = [
        Example(text="x", labels=("flights",)),
        Example(text="y", labels=("flights",)),
        Example(text="z", labels=()),
    ]
    rows = await routes.rows(PAIRS, ByWord(), ByWord(), learned, planned, 7)

    trained, frequent = figures(rows, TRAINED), figures(rows, FREQUENT)
    assert 1.0 == trained["by hand, en", "whole set exact"] == trained["by hand, en", "set F1"]
    assert 0.0 == trained["by hand, fr", "whole set exact"] == trained["by hand, fr", "same plan as in English"]
    assert pytest.approx(1 / 3) == frequent["by hand, en", "whole set exact"]
    assert pytest.approx(2 * 2 / (3 + 3)) == frequent["by hand, en", "set F1"]
    assert {"p50, ms", "p95, ms"} <= {measure for _, measure in trained}


def test_calls_are_counted_by_set() -> None:
    asked = [case(cases.SEEN, True), case(cases.SEEN, False), case("bfcl/multiple", True)]
    rows = calls.rows(asked, [Answer(("go", {}), 0.9, 0.8, 0.1)] * 3, TRAINED, 7)

    found = figures(rows, TRAINED)
    assert 0.5 == found[cases.SEEN, "call exact"] == found[cases.SEEN, "slot F1"]
    assert 1.0 == found["bfcl/multiple", "call exact"]
    (demanded,) = (row for row in rows if (row.data, row.measure) == ("bfcl/multiple", "call exact"))
    assert (0.35, 0.65, True) == (demanded.must, demanded.aim, demanded.met)


def test_a_call_of_a_function_that_is_not_offered_is_wrong(tmp_path: Path) -> None:
    parameters = {"type": "dict", "properties": {"city": {"type": "string"}}}
    rows = [
        {
            "id": category,
            "category": category,
            "messages": [{"role": "user", "content": "to Rome"}],
            "functions": [{"name": "go", "description": "", "parameters": parameters}],
            "ground_truth": [{"go": {"city": ["Rome"]}}] if category != "irrelevance" else None,
        }
        for category in ("simple_python", "multiple", "irrelevance")
    ]
    (tmp_path / "eval.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(rows))
    one, _, none = cases.functions(tmp_path, 1, seed=7)

    assert [True, False, False] == [one.right(call) for call in (("go", {"city": "Rome"}), ("fly", {}), None)]
    assert [True, False, False] == [none.right(call) for call in (None, ("fly", {}), ("go", {"city": "Rome"}))]


def test_the_most_frequent_call_says_nothing() -> None:
    assert [Answer(("go", {}), 1.0, 1.0, 0.0)] == calls.usual([case("x", True)])


def test_less_is_better_where_it_is_said() -> None:
    slow = Row(task="router", data="", arm="", measure="", figure=Figure(20, 19, 21, 1), must=15, aim=8, less=True)

    assert slow.met is False
    assert Row(task="router", data="", arm="", measure="", figure=Figure(20, 19, 21, 1)).met is None


@pytest.mark.parametrize(
    ("measure", "low", "high", "known", "expected"),
    [
        ("F1", 0.90, 0.94, None, True),
        ("F1", 0.90, 0.96, None, False),
        ("F1", 0.80, 0.86, 0.85, False),
        ("F1", 0.80, 0.84, 0.85, True),
        ("F1", 0.90, 0.94, 0.97, True),
        ("p50, ms", 0.10, 0.20, None, False),
    ],
)
def test_a_figure_is_surely_worse_if_its_interval_lies_below_what_it_must_reach_or_was_known_to_miss(
    measure: str, low: float, high: float, known: float | None, expected: bool
) -> None:
    def row(low: float, high: float) -> Row:
        figure = Figure((low + high) / 2, low, high, 30)
        return Row(task="router", data="by hand", arm=TRAINED, measure=measure, figure=figure, must=0.95, aim=1)

    before = Report.of("metier eval router", 7, {}, [row(known, known)] if known else [])
    found = row(low, high)
    assert ([found] if expected else []) == report.worse([found], [before])


def test_a_figure_where_less_is_better_is_worse_above_its_line() -> None:
    row = Row(task="", data="", arm=TRAINED, measure="ECE", figure=Figure(0.06, 0.055, 0.07, 900), must=0.05, less=True)
    better = msgspec.structs.replace(row, figure=Figure(0.06, 0.04, 0.07, 900))
    few = msgspec.structs.replace(row, figure=Figure(0.06, 0.055, 0.07, 9))
    assert [row] == report.worse([row, better, few], [])


def test_a_report_is_stored_and_shown_with_its_command(tmp_path: Path) -> None:
    row = Row(
        task="router", data="by hand", arm=TRAINED, measure="F1", figure=Figure(0.9, 0.8, 1, 30), must=0.95, aim=1
    )
    made = Report.of("metier eval router", 7, {"router": "ab" * 32}, [row])
    made.write(tmp_path / "report.json")

    assert made == report.read(tmp_path / "report.json")
    shown = report.markdown(made)
    assert "| by hand | F1 | trained | 0.900 | 0.800 to 1.000 | 30 | 0.95 | 1 | missed |" in shown
    assert "`metier eval router`" in shown
    assert "seed 7" in shown
    assert "abababababab" in shown


def test_a_file_of_pairs_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "compounds.yaml").write_text("- en: only English")
    with pytest.raises(InvalidInput, match=r"compounds\.yaml"):
        pairs.read(tmp_path)


def test_pairs_are_parted_by_their_english_and_both_languages_stay_together(tmp_path: Path) -> None:
    assert [] == pairs.read(tmp_path)
    found = [Pair(f"go to {at}", f"va à {at}", ("flights",)) for at in range(200)]
    dev, train = pairs.examples(found, "dev"), pairs.examples(found, "train")
    assert 400 == len(dev) + len(train)
    assert 10 < len(dev) < 80
    numbers = [example.text.split()[-1] for example in dev]
    assert numbers[::2] == numbers[1::2]
