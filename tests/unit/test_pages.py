"""What the pages for other services say of the contract is what the contract says."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
import yaml

from harness.pages import alike, blocks, commands, quoted, table
from metier.cluster.gateway.app import OPERATIONS
from metier.cluster.gateway.document import document
from metier.cluster.gateway.settings import Gateway, Limits
from metier.topics import asking, asyncapi, broker, client, contract, errors, streams
from metier.topics.bus import REPLY_TO
from metier.topics.codec import decode
from metier.topics.messages import TEXT_LIMIT, State, Task
from metier.topics.subjects import TOKEN_LIMIT, Subjects

OPS = Path(__file__).parents[2] / "ops"
PUBLISH, HTTP = OPS / "publish.md", OPS / "http.md"
DOCUMENT = asyncapi.document()
CHANNELS = {channel["address"]: channel for channel in DOCUMENT["channels"].values() if channel["address"]}
VERBS = {"publish": "send", "request": "send", "subscribe": "receive"}
AGES = {600.0: "ten minutes", 86_400.0: "a day"}


# ── Subjects ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def subjects() -> dict[str, tuple[str, str, str]]:
    """Message, what you do, and how long it is kept, by subject."""
    rows = table(PUBLISH, "Subject")
    return {quoted(subject)[0]: (quoted(message)[0], you, kept) for subject, message, you, kept in rows}


def test_the_page_has_every_subject_of_the_contract_and_no_other() -> None:
    spoken = {re.sub(r"control\.\w+", "control.{verb}", subject) for subject in subjects()}

    assert set(CHANNELS) == spoken


@pytest.mark.parametrize("subject", subjects())
def test_a_subject_carries_the_message_the_page_says_in_the_direction_it_says(subject: str) -> None:
    message, you, _ = subjects()[subject]
    address = next(one for one in CHANNELS if re.fullmatch(re.sub(r"\\{verb\\}", r"\\w+", re.escape(one)), subject))
    channel = next(name for name, one in DOCUMENT["channels"].items() if one["address"] == address)
    operations = [one for one in DOCUMENT["operations"].values() if one["channel"]["$ref"] == f"#/channels/{channel}"]

    assert [message.lower()] == list(CHANNELS[address]["messages"])
    assert [VERBS[re.split(r"\W", you)[0]]] == [one["action"] for one in operations]


@pytest.mark.parametrize("subject", subjects())
def test_a_subject_is_kept_as_long_as_the_page_says(subject: str) -> None:
    kind = subject.split(".")[1]
    held = [one for one in streams.streams(Subjects()) if any(held.split(".")[1] == kind for held in one.subjects)]

    assert (kept(held[0]) if held else "no") == subjects()[subject][2]


def kept(stream: streams.Stream) -> str:
    """In the page's words."""
    if stream.retention is streams.Retention.WORK:
        return f"stream {stream.name}, until handled"
    assert stream.max_age_s
    words = f"stream {stream.name}, {AGES[stream.max_age_s]}"
    words += ", in memory" if stream.storage == "memory" else ""
    return words + ("; one message per subject" if stream.max_per_subject == 1 else "")


# ── Messages, headers, errors ────────────────────────────────────────────────────────────────────────────────────────


def test_the_pages_tasks_are_those_of_the_contract() -> None:
    samples = blocks(PUBLISH, "json")
    for sample in samples:
        jsonschema.validate(msgspec.json.decode(sample), contract.files()["schemas/task-1.json"])

    assert list(asyncapi.EXAMPLES[Task].values()) == [decode(sample.encode(), Task) for sample in samples]


def test_the_page_has_every_state_an_answer_may_have() -> None:
    assert set(State) - {State.ESCALATE} == {quoted(row[0])[0] for row in table(PUBLISH, "`status` of an answer")}


def test_the_page_has_every_header_of_the_contract_on_the_messages_that_have_it() -> None:
    carriers = {"task": "task", "answer": "answer", "event": "event", "refusal": "reply to an ask"}
    declared = {
        (header, place)
        for message, place in carriers.items()
        for header in DOCUMENT["components"]["messages"][message].get("headers", {}).get("properties", {})
    }
    said = {header: on for names, on, _ in table(PUBLISH, "Header") for header in quoted(names)}

    assert {header for header, _ in declared} - {REPLY_TO} == set(said)
    assert set() == {(header, on) for header, on in said.items() if not carried(header, on, declared)}


def carried(header: str, on: str, declared: set[tuple[str, str]]) -> bool:
    """Whether each message that the page names has the header in the contract."""
    places = {place for name, place in declared if name == header}
    named = {part for part in on.split(", ") if not part.startswith("with ")}
    return bool(places) if on == "any" else named <= places


def test_the_page_has_every_code_of_a_refused_ask() -> None:
    codes = DOCUMENT["components"]["messages"]["refusal"]["headers"]["properties"][asking.ERROR_CODE]["enum"]

    assert codes == sorted(row[0] for row in table(PUBLISH, "Code"))


def test_the_pages_limits_are_the_codes() -> None:
    text = PUBLISH.read_text()

    assert f"above {TEXT_LIMIT:,} characters" in text
    waiting, of_one = streams.TASKS_WAITING, streams.TASKS_WAITING_PER_TENANT
    assert f"{waiting:,} tasks wait to be read, or {of_one:,} of your tenant and class" in text
    assert f"or {asking.ROOM:,} wait here" in text
    assert f"at most\n{TOKEN_LIMIT}." in text
    assert (120.0, 10) == (broker.DEDUPE_S, client.GRACE_S)
    assert "within two minutes" in text
    assert "no answer by the deadline and ten seconds more" in text
    assert f"the task's `deadline_s` ({Task(text='x').deadline_s:g} by default)" in text


def test_the_page_quotes_what_an_unknown_version_is_told() -> None:
    with pytest.raises(errors.UnknownVersion) as refused:
        decode(b'{"type":"task/2","text":"red"}', Task)

    assert f"`{refused.value}`" in PUBLISH.read_text()


def test_every_call_the_page_lists_is_one_of_the_client() -> None:
    for cell, _ in table(PUBLISH, "Call"):
        for name, arguments in re.findall(r"(\w+)\(([^)]*)\)", cell):
            known = set(inspect.signature(getattr(client.Client, name)).parameters)
            given = set(re.findall(r"(\w+)=", arguments))
            assert given <= known or "fields" in known, (name, given - known)


def test_every_error_the_page_names_is_one() -> None:
    said = PUBLISH.read_text().partition("Errors are in `metier.topics.errors`")[2].partition("\n\n")[0]
    named = [name for name in re.findall(r"`(\w+)", said) if name[0].isupper()]

    assert named
    assert all(issubclass(getattr(errors, name), errors.MetierError) for name in named)


# ── The HTTP door ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_of_the_door_has_every_way_to_a_task() -> None:
    said = {quoted(row[0])[0] for row in table(HTTP, "")}

    assert {
        f"{one.method} {one.path.replace('task_id', 'id')}" for one in OPERATIONS if one.path.startswith("/v1/tasks")
    } == said


def test_the_page_of_the_door_has_every_status_of_a_problem() -> None:
    paths = document(OPERATIONS, keys=True)["paths"]
    possible = {status for path in paths.values() for each in path.values() for status in each["responses"]}
    said = {status for row in table(HTTP, "Status") for status in row[0].split(", ")}

    assert {status for status in possible if status >= "400"} <= said


def test_the_section_of_a_team_file_is_what_it_would_be_without() -> None:
    (section,) = blocks(HTTP, "yaml")
    values: dict[str, Any] = yaml.safe_load(section)["gateway"]
    settings = msgspec.convert(values, Gateway, strict=True)

    assert (Limits(), Gateway().port) == (settings.limits, settings.port)


# ── The reader of pages ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_command_is_read_with_the_lines_it_goes_on_over() -> None:
    first = commands(HTTP)[0]

    assert first.line.startswith("curl -si localhost:8080/v1/tasks")
    assert first.line.endswith("'")
    assert first.printed.startswith("HTTP/1.1 202 Accepted")


@pytest.mark.parametrize(
    ("said", "printed", "same"),
    [
        ("at 10:45 for €68", "at 9:05 for €104", True),
        ("Fri 27 Nov 2026", "Sat 5 Dec 2026", True),
        ('{"status":"ok",…', '{"status":"ok","turn":2}', True),
        ('{"status":"ok",…', '{"status":"failed","turn":2}', False),
        ("red", "red\ngreen", False),
    ],
)
def test_what_is_another_every_time_is_no_difference(said: str, printed: str, same: bool) -> None:
    assert same is alike(said, printed)
