"""The HTTP door's pure parts: keys, pace, problems, and an answer in OpenAI's words."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metier.cluster.gateway import problems
from metier.cluster.gateway.chat import Told
from metier.cluster.gateway.keys import Key, Keys, check_open, digest, new, parse
from metier.topics import errors
from metier.topics.bus import Lag
from metier.topics.errors import InvalidInput
from metier.topics.load import Load, Queue
from metier.topics.memory import MemoryBus
from metier.topics.messages import Event, PlanGraph, PlanNode
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects


def test_a_new_keys_line_knows_the_key_and_does_not_hold_it() -> None:
    key, line = new("acme", dt.date(2027, 6, 30))

    assert {digest(key): Key("acme", dt.date(2027, 6, 30))} == parse(line, "keys")
    assert key not in line


@pytest.mark.parametrize("line", ["metier_secret acme", "sha256:00 acme", f"sha256:{'0' * 64}", "sha256:x acme until="])
def test_a_line_that_is_none_is_named_by_its_place_and_never_quoted(line: str) -> None:
    with pytest.raises(InvalidInput, match=r"keys, line 2: write") as refused:
        parse(f"# ours\n{line}\n", "keys")

    assert line not in str(refused.value)


def test_keys_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    key, line = new("acme")
    monkeypatch.setenv("METIER_KEYS", line)

    assert ("acme", None) == (Keys().tenant(key), Keys().tenant("other"))


def test_without_keys_the_door_is_for_this_machine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METIER_KEYS", raising=False)
    for host in ("127.0.0.1", "localhost", "::1"):
        check_open(host, Keys())
    for host in ("0.0.0.0", "::", "10.0.0.7", "example.org"):
        with pytest.raises(InvalidInput, match="open to the network"):
            check_open(host, Keys())


# ── How long a task would wait ───────────────────────────────────────────────────────────────────────────────────────


def busy(waiting: int, per_s: int) -> Queue:
    queue = Queue()
    queue.note(1.0, Lag(waiting=waiting, in_flight=8, ended=100))
    queue.note(2.0, Lag(waiting=waiting, in_flight=8, ended=100 + per_s))
    return queue


def test_what_waits_goes_at_the_pace_that_was_measured() -> None:
    assert 25.0 == busy(waiting=500, per_s=20).wait_s


def test_an_idle_actors_pace_says_nothing() -> None:
    queue = Queue()
    queue.note(1.0, Lag(waiting=0, in_flight=0, ended=0))
    queue.note(2.0, Lag(waiting=50, in_flight=8, ended=1))

    assert (None, 0.0) == (queue.per_s, queue.wait_s)


def test_one_flooded_specialist_closes_the_door_for_its_own_tasks_alone() -> None:
    names = ("router", "aggregator", "red", "green")
    consumers = {name: Consumer(stream="S", name=name, subject="s") for name in names}
    load = Load(MemoryBus(Subjects()), consumers)
    load.queues["red"] = busy(waiting=500, per_s=20)

    assert (0.0, 25.0, 0.0) == (load.wait_s(), load.wait_s(["red"]), load.wait_s(["green"]))


def test_a_router_that_is_behind_concerns_everybody() -> None:
    consumers = {name: Consumer(stream="S", name=name, subject="s") for name in ("router", "red", "green")}
    load = Load(MemoryBus(Subjects()), consumers)
    load.queues["router"] = busy(waiting=100, per_s=50)

    assert (2.0, 2.0) == (load.wait_s(), load.wait_s(["green"]))


# ── Problems ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        (422, "text-too-long", errors.TextTooLong(actual=9000, limit=8000)),
        (404, "unknown-task", errors.UnknownTask(task_id="t")),
        (429, "busy", errors.Busy(reason="full")),
        (503, "bus-unavailable", errors.BusUnavailable(url="nats", reason="away")),
        (504, "timeout", errors.Timeout(limit_s=1, what="no answer")),
        (500, "internal-server-error", ZeroDivisionError("a secret")),
    ],
)
def test_an_error_has_its_status_and_a_name(status: int, kind: str, error: Exception) -> None:
    details = problems.of(error).details()

    assert (status, f"urn:metier:problem:{kind}") == (details.status, details.type)
    assert "secret" not in details.detail


def test_openais_clients_find_their_own_error_in_a_problem() -> None:
    body = msgspec.json.decode(problems.Problem(404, "No.", kind="model-not-found").response(openai=True).body)

    assert ("No.", "model_not_found") == (body["error"]["message"], body["error"]["code"])
    assert ("No.", 404) == (body["detail"], body["status"])


# ── Words as they come ───────────────────────────────────────────────────────────────────────────────────────────────


def event(what: str, text: str = "", *nodes: str) -> Event:
    graph = PlanGraph(nodes=tuple(PlanNode(id=id_, specialist=id_, needs=()) for id_ in nodes)) if nodes else None
    node = nodes[0] if nodes else "large"
    return Event(task_id="t", tenant="default", turn=1, what=what, node=node, text=text, plan=graph)  # type: ignore[arg-type]


@given(st.lists(st.text(max_size=8), max_size=6), st.sampled_from(["", "\n\nWhat to know of it."]))
def test_what_is_told_in_pieces_and_at_the_end_is_the_whole(pieces: list[str], more: str) -> None:
    told = Told()
    told.more(event("planned", "", "large"))
    said = "".join(told.more(event("tokens", piece)) for piece in pieces)
    whole = "".join(pieces).strip() + more

    assert (said + told.rest(whole)).split() == whole.split()


def test_a_model_that_began_anew_is_told_in_full() -> None:
    told = Told()
    told.more(event("planned", "", "large"))
    told.more(event("tokens", "Because"))

    assert "\n\nIt depends." == told.rest("It depends.")


def test_words_of_one_among_several_wait_for_the_answer() -> None:
    told = Told()
    told.more(event("planned", "", "large", "red"))

    assert "" == told.more(event("tokens", "Because"))
