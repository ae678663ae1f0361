"""The command line: what it refuses, in which words, and with which exit status. `tests/broker` has what it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from metier.cluster.cli import parser, run
from metier.cluster.commands.ask import as_json, context, local_time_zone
from metier.cluster.commands.up import alive
from metier.topics.messages import Answer, Cost, PlanGraph, State


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METIER_DIRECTORY", str(tmp_path / "state"))
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["ask", "hello"], 1, "No team is up in"),
        (["status"], 1, "run `metier up` first"),
        (["down"], 1, "No team is up in"),
        (["dead"], 1, "No team is up in"),
        (["trace", "t1"], 1, "No trace of task t1"),
        ([], 2, "the following arguments are required: COMMAND (see `metier --help`)"),
        (["ask"], 2, "required: text (see `metier ask --help`)"),
        (["sing"], 2, "invalid choice: 'sing'"),
        (["ask", "hello", "--date", "2026-02-30"], 2, "'2026-02-30' is not a date: day is out of range for month"),
        (["ask", "hello", "--date", "friday"], 2, "write YYYY-MM-DD"),
        (["ask", "hello", "--deadline", "0"], 2, "--deadline is 0 s; it must be above 0 and at most 86400"),
        (["ask", "hello", "--deadline", "soon"], 2, "argument --deadline: invalid float value: 'soon'"),
        (["ask", "hello", "--privacy", "secret"], 2, "invalid choice: 'secret'"),
        (["up", "--port", "99999"], 2, "'99999' is not a port: use 0 to 65535"),
        (["up", "--team", "nowhere.yaml"], 2, "nowhere.yaml: there is no such file"),
        (["dead", "show", "first"], 2, "'first' is not a number of the list"),
        (["eval", "intents"], 2, "say with --data where the public sets lie"),
        (
            ["eval", "specialist", "--data", ".", "--adapter", "nobody"],
            2,
            "'nobody' is no adapter's folder, and none of the team's: trip-tools, secretary",
        ),
        (["eval", "everything"], 2, "invalid choice: 'everything'"),
        (["train", "poet"], 2, "invalid choice: 'poet'"),
        (["models", "pull", "gpt"], 2, "'gpt' is not a model: there are smollm2-135m-instruct"),
    ],
)
def test_what_cannot_be_is_one_line_and_a_status(
    arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status == run(arguments)

    said = capsys.readouterr()
    assert "" == said.out
    assert said.err.startswith("error: ")
    assert 1 == said.err.count("\n")
    assert words in said.err


def test_an_unknown_key_in_a_team_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "team.yaml"
    file.write_text("name: x\ncolour: red\n")

    assert 2 == run(["up", "--team", str(file)])
    assert "colour" in capsys.readouterr().err


def test_help_of_every_command_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("up", "down", "status", "ask", "trace", "dead", "models", "demo"):
        with pytest.raises(SystemExit) as ended:
            parser().parse_args([command, "--help"])
        assert 0 == ended.value.code
    assert "usage: metier demo" in capsys.readouterr().out


def test_options_of_a_noun_stand_before_or_after_its_verb() -> None:
    before = parser().parse_args(["dead", "--directory", "d", "--json", "list"])
    after = parser().parse_args(["dead", "list", "--directory", "d", "--json"])

    assert ("d", True) == (before.directory, before.json) == (after.directory, after.json)


def test_models_are_listed_with_their_state(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METIER_MODELS", str(tmp_path))

    assert 0 == run(["models"])
    assert "To get what is missing: metier models pull" in capsys.readouterr().out


def test_models_as_json_are_one_list(capsys: pytest.CaptureFixture[str]) -> None:
    run(["models", "list", "--json"])

    assert {"smollm2-135m-instruct", "all-minilm-l6-v2", "multilingual-e5-small"} == {
        model["name"] for model in msgspec.json.decode(capsys.readouterr().out)
    }


def test_words_are_relative_to_what_the_options_say() -> None:
    said = context(
        parser().parse_args(["ask", "x", "--date", "2026-07-01", "--home", "Lyon", "--time-zone", "Europe/Paris"])
    )

    assert ("2026-07-01", "Lyon", "Europe/Paris") == (str(said.date), said.home, said.time_zone)


def test_the_time_zone_is_this_machines_unless_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    assert "Asia/Tokyo" == local_time_zone()


def test_an_answer_as_json_always_has_the_same_keys() -> None:
    cost = Cost(usd=0, large_model_usd=0, prompt_tokens=0, output_tokens=0, model_seconds=0)
    answer = Answer(
        task_id="t", tenant="default", turn=1, status=State.OK, text="", plan=PlanGraph(nodes=()), results={},
        missing=(), cost=cost, trace_id="",
    )  # fmt: skip

    assert [
        "task_id", "status", "text", "plan", "results", "missing", "cost", "trace_id", "turn", "notes",
    ] == list(msgspec.json.decode(as_json(answer)))  # fmt: skip


def test_a_process_that_ended_is_not_alive() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now

    assert not alive(ended.pid)
    ended.wait()
    assert alive(os.getpid())
    assert not alive(0)
