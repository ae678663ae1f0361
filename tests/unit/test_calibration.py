"""From how sure a model seems to how often it is right."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from metier.actors.engines.calibration import NAME, Calibration, read, shifted
from metier.actors.learning import spoken
from metier.actors.learning.calibration import fit, isotonic, shifts, written
from metier.actors.learning.measures import calibration_error
from metier.cluster import build
from metier.cluster import team as teams
from metier.topics.errors import EngineFailed

TRIP = Path(__file__).parents[2] / "cluster" / "teams" / "trip"


def test_neighbours_out_of_order_are_pooled() -> None:
    assert [(0.1, 0.0, 1), (0.3, 0.5, 2), (0.9, 1.0, 1)] == [
        (round(score, 9), share, size)
        for score, share, size in isotonic([0.9, 0.2, 0.1, 0.4], [True, True, False, False])
    ]


def test_what_was_fitted_says_how_often_answers_are_right() -> None:
    rng = random.Random(7)
    scores = [rng.random() for _ in range(4_000)]
    right = [rng.random() < score**3 for score in scores]
    line = fit(scores[:2_000], right[:2_000], "made up")
    assert 0.05 < calibration_error(scores[2_000:], right[2_000:])
    assert 0.05 > calibration_error([line.of(score) for score in scores[2_000:]], right[2_000:])


def test_few_answers_make_nothing_certain() -> None:
    line = fit([0.2, 0.9], [False, True], "two")
    assert 0 < line.of(0.0) < line.of(0.5) < line.of(1.0) < 1


def test_a_line_joins_its_points_and_ends_flat() -> None:
    line = Calibration(joint=[0.2, 0.6], chance=[0.1, 0.9], data="", answers=2)
    assert [0.1, 0.1, pytest.approx(0.5), 0.9, 0.9] == [line.of(joint) for joint in (0.0, 0.2, 0.4, 0.6, 1.0)]


def test_calls_of_a_tool_that_is_easier_are_likelier_right() -> None:
    rng = random.Random(7)
    tools = [rng.choice(("easy", "hard")) for _ in range(4_000)]
    joint = [rng.random() for _ in tools]
    right = [
        rng.random() < shifted(sure, 1.0 if tool == "easy" else -1.0) for tool, sure in zip(tools, joint, strict=True)
    ]
    line = fit(joint, right, "made up")
    found = shifts(line, tools, joint, right)
    line = msgspec.structs.replace(line, shifts=found)
    assert {"easy": pytest.approx(1.0, abs=0.25), "hard": pytest.approx(-1.0, abs=0.25)} == found
    assert line.of(0.5, "hard") < line.of(0.5) == line.of(0.5, "unheard of") < line.of(0.5, "easy")


def test_few_calls_of_a_tool_move_it_little() -> None:
    line = Calibration(joint=[0.0, 1.0], chance=[0.5, 0.5], data="", answers=2)
    assert 0 < shifts(line, ["new"], [0.5], [True])["new"] < 0.5


def test_an_adapter_without_one_has_none(tmp_path: Path) -> None:
    assert read(tmp_path, "small") is None


@pytest.mark.parametrize("joint", [[], [0.5], [0.9, 0.1]])
def test_a_file_that_is_no_rising_line_is_refused(tmp_path: Path, joint: list[float]) -> None:
    line = Calibration(joint=joint, chance=[0.1, 0.2], data="", answers=2)
    (tmp_path / NAME).write_bytes(msgspec.json.encode(line))
    with pytest.raises(EngineFailed, match="no rising line"):
        read(tmp_path, "small")


def test_calls_to_calibrate_on_were_not_learned() -> None:
    team = teams.read(TRIP / "team.yaml")
    tools = {name: build.tools(team, name) for name, each in team.specialists.items() if each.adapter == "trip-tools"}
    cases = written(TRIP, tools, 60, seed=7)
    learned = {each.text for each in spoken.read(TRIP / "training") if each.split == "train"}
    assert (60, set(tools)) == (len(cases), {case.part for case in cases})
    assert not learned & {case.text for case in cases}
    assert all(not case.right(None) for case in cases if case.wanted)
