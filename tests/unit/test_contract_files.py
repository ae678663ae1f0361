"""The published contract: made from the structs, and the same in the tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from metier.topics import asyncapi, codec, contract
from metier.topics.errors import InvalidMessage
from metier.topics.messages import Message
from metier.topics.subjects import Subjects

TREE = Path(__file__).parents[2] / "ops" / "contract"
FILES = contract.files()
MADE_BY = "make it anew: python -m metier.topics.contract"


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_the_tree_is_what_the_structs_make(name: str) -> None:
    assert contract.text(FILES[name]) == (TREE / name).read_text(), MADE_BY


def test_the_tree_has_no_other_files_than_those_of_a_version_in_use_or_past() -> None:
    found = {path.relative_to(TREE).as_posix() for path in TREE.rglob("*") if path.is_file()}

    assert set(FILES) == found


def test_the_command_writes_the_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "metier.topics.contract", "--out", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)

    assert {name: contract.text(content) for name, content in FILES.items()} == {
        path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.json")
    }


@pytest.mark.parametrize("kind", contract.kinds(), ids=lambda kind: kind.kind)
def test_each_message_has_a_valid_schema_of_its_own(kind: type[Message]) -> None:
    jsonschema.Draft202012Validator.check_schema(contract.schema(kind))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", None),
        ("turn", 0),
        ("deadline_s", 0),
        ("deadline_s", 90_000),
        ("class", "urgent"),
        ("privacy", "none"),
        ("budget_usd", -1),
        ("context", {"city": "Lyon"}),
        ("mood", 1),
        ("type", "task/2"),
    ],
)
def test_what_the_schema_of_a_task_refuses_metier_refuses_too(field: str, value: Any) -> None:
    task = {"text": "hi", field: value}

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(task, FILES["schemas/task-1.json"])
    with pytest.raises(InvalidMessage):
        codec.decode(json.dumps(task).encode(), contract.kinds()[0])


def test_descriptions_come_from_docstrings_and_comments() -> None:
    task = FILES["schemas/task-1.json"]

    assert "A request, client to router." == task["description"]
    assert "What is asked, in plain words." == task["properties"]["text"]["description"]
    assert "interactive: Somebody waits for the answer." in task["$defs"]["Class"]["description"]


def test_every_comment_on_a_field_reaches_a_reader() -> None:
    from metier.topics import messages

    source = Path(messages.__file__).read_text()
    shown = " ".join((TREE / name).read_text() for name in FILES)
    first = [line.strip()[2:].strip().replace('"', '\\"') for line in source.splitlines() if "#:" in line]

    assert [] == [line for line in first if line not in shown]


def test_the_channels_are_the_subjects() -> None:
    subjects = Subjects()
    addresses = {name: channel["address"] for name, channel in FILES["asyncapi.json"]["channels"].items()}

    assert addresses["task"].format(tenant="a", **{"class": "batch"}) == subjects.task("a", "batch")
    assert addresses["ask"].format(tenant="a", **{"class": "batch"}) == subjects.ask("a", "batch")
    assert addresses["event"].format(tenant="a", task_id="t") == subjects.event("a", "t")
    assert addresses["answer"].format(tenant="a", task_id="t", turn=1) == subjects.answer("a", "t", 1)
    assert addresses["control"].format(verb="cancel") == subjects.control("cancel")


@pytest.mark.parametrize(
    "message", [one for named in asyncapi.EXAMPLES.values() for one in named.values()], ids=lambda one: one.kind
)
def test_every_example_is_the_message_it_stands_for(message: Message) -> None:
    jsonschema.validate(msgspec.json.decode(codec.encode(message)), contract.schema(type(message)))


def test_making_the_contract_loads_no_nats_client_and_no_heavy_library() -> None:
    code = "import sys, metier.topics.asyncapi; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)

    assert set() == {"nats", "ray", "torch", "yaml"} & set(done.stdout.split())
