"""Messages, bytes, subjects and errors: what other services rely on."""

from __future__ import annotations

import datetime as dt
import pickle

import msgspec
import pytest

from metier.topics import codec, errors, messages
from metier.topics.messages import Answer, Context, Deadline, Result, Task
from metier.topics.subjects import Subjects, token

KINDS = list(messages.Message.__subclasses__())


def test_every_message_is_a_frozen_tagged_struct_that_refuses_unknown_fields() -> None:
    for kind in KINDS:
        config = kind.__struct_config__
        assert config.frozen, kind
        assert config.forbid_unknown_fields, kind
        assert config.tag == f"{kind.kind}/{kind.version}", kind


def test_a_task_survives_the_wire_in_both_encodings() -> None:
    task = Task(task_id="t1", text="Bonjour, été", context=Context(date=dt.date(2026, 11, 25), home="Lyon"))

    assert task == codec.decode(codec.encode(task), Task)
    assert task == codec.decode(msgspec.msgpack.encode(task), Task, {codec.CONTENT_TYPE: codec.MSGPACK})


def test_the_smallest_task_is_its_text() -> None:
    assert Task(text="hi") == codec.decode(b'{"text":"hi"}', Task)


def test_one_of_several_kinds_is_told_by_its_type() -> None:
    deadline = Deadline(task_id="t", tenant="default", turn=1)

    assert deadline == codec.decode_any(codec.encode(deadline), (Result, Deadline), {})


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\xff\xfe", "Not a valid task: "),
        (b"[]", "Not a valid task: Expected `object`, got `array`."),
        (b'{"type":"task/2","text":"x","mood":1}', "This task has version 2; this Metier reads version 1."),
        (b'{"type":"answer/1","text":"x"}', "Not a valid task: Invalid value 'answer/1' - at `$.type`."),
        (b'{"text":"x","context":{"date":"2026-11-31"}}', "Not a valid task: "),
    ],
)
def test_bytes_that_are_no_task_say_why(payload: bytes, message: str) -> None:
    with pytest.raises(errors.InvalidMessage) as caught:
        codec.decode(payload, Task)

    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("value", ["a.b", "a b", "", "*", ">", "é", "x" * 65, "a\n"])
def test_what_could_change_a_subject_is_no_token(value: str) -> None:
    with pytest.raises(errors.InvalidToken, match="use letters, digits, dash and underscore, at most 64"):
        token(value)


def test_subjects_are_built_below_their_root() -> None:
    subjects = Subjects("acme")

    assert subjects.task("t1", "batch") == "acme.task.t1.batch"
    assert subjects.answer("t1", "x", 2) == "acme.answer.t1.x.2"
    assert subjects.stream("TASKS") == "acme_TASKS"
    assert subjects.parse_task("acme.task.t1.batch") == ("t1", "batch")


def every_error(kind: type[errors.MetierError] = errors.MetierError) -> list[type[errors.MetierError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in every_error(child))]


def test_the_tree_drawn_in_the_errors_names_every_error() -> None:
    drawn = errors.__doc__ or ""

    assert {error.__name__ for error in every_error() if error.__name__ not in drawn} == set()


def test_an_error_keeps_its_values_across_processes() -> None:
    error = pickle.loads(pickle.dumps(errors.TextTooLong(actual=9, limit=8)))

    assert (error.actual, error.limit) == (9, 8)
    assert str(error) == "The text has 9 characters; the limit is 8."


def test_an_answer_with_everything_in_it_survives_the_wire() -> None:
    payload = b"""{"type":"answer/1","task_id":"t","tenant":"a","turn":1,"status":"ok","text":"x",
        "plan":{"nodes":[{"id":"a","specialist":"a","needs":[]}]},
        "results":{"a":{"state":"ok","specialist":"a","data":{"deep":[1,{"x":null}]}}},"missing":[],
        "cost":{"usd":0,"large_model_usd":0.1,"prompt_tokens":1,"output_tokens":2,"model_seconds":0.5},
        "trace_id":"0af7651916cd43dd8448eb211c80319c"}"""
    answer = codec.decode(payload, Answer)

    assert answer.results["a"].data == {"deep": [1, {"x": None}]}
    assert answer == codec.decode(codec.encode(answer), Answer)
