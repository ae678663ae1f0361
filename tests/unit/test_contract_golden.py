"""Bytes as they were once written. Each file is read for ever: a file here is added, never changed or removed."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from metier.topics import codec, contract, errors
from metier.topics.messages import Control, Message, Task

GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(GOLDEN.iterdir())
JSON = [path for path in FILES if path.suffix == ".json"]
KINDS = {kind.kind: kind for kind in contract.kinds()}


def kind_of(path: Path) -> type[Message]:
    return KINDS[path.name.partition("-")[0]]


def read(path: Path) -> Message:
    headers = {codec.CONTENT_TYPE: codec.MSGPACK} if path.suffix == ".msgpack" else {}
    return codec.decode(path.read_bytes(), kind_of(path), headers)


def name(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_was_once_written_is_read(path: Path) -> None:
    assert isinstance(read(path), kind_of(path))


@pytest.mark.parametrize("path", JSON, ids=name)
def test_what_was_read_is_written_as_it_was(path: Path) -> None:
    written = json.loads(path.read_bytes())
    typed = {"type": f"{kind_of(path).kind}/1"} | written

    assert typed == json.loads(codec.encode(read(path)))


@pytest.mark.parametrize("path", JSON, ids=name)
def test_the_schema_of_its_version_admits_it(path: Path) -> None:
    stem = path.name.split(".")[0]
    schema = json.loads((GOLDEN.parents[1] / "ops" / "contract" / "schemas" / f"{stem}.json").read_bytes())

    jsonschema.Draft202012Validator(schema).validate(json.loads(path.read_bytes()))


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_every_message_has_its_bytes_with_all_fields_and_with_the_fewest(kind: type[Message]) -> None:
    # Since a file is never changed, a field that came later has its bytes in another one.
    full = [json.loads(path.read_bytes()) for path in GOLDEN.glob(f"{kind.kind}-{kind.version}.full*.json")]
    least = GOLDEN / f"{kind.kind}-{kind.version}.least.json"

    assert [] == list(unset({key for each in full for key in each}, contract.schema(kind)))
    for field in required(json.loads(least.read_bytes()), kind):
        with pytest.raises(errors.InvalidMessage, match=f"missing required field `{field}`"):
            codec.decode(without(least.read_bytes(), field), kind)


def unset(value: Collection[str], schema: dict[str, Any]) -> Iterator[str]:
    """The fields of a message's own that its bytes leave out."""
    yield from (field for field in schema["properties"] if field not in value)


def required(value: dict[str, Any], kind: type[Message]) -> list[str]:
    """All that the smallest message says, its type apart."""
    assert set(value) - {"type"} == {f.encode_name for f in msgspec.structs.fields(kind) if f.required}
    return [field for field in value if field != "type"]


def without(payload: bytes, field: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(payload).items() if key != field}).encode()


def test_both_encodings_of_a_task_say_the_same() -> None:
    assert read(GOLDEN / "task-1.full.json") == read(GOLDEN / "task-1.full.msgpack")


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_a_version_nobody_knows_is_refused_by_its_name(kind: type[Message]) -> None:
    payload = json.loads((GOLDEN / f"{kind.kind}-{kind.version}.full.json").read_bytes())
    payload |= {"type": f"{kind.kind}/{kind.version + 1}", "news": True}
    with pytest.raises(errors.UnknownVersion) as caught:
        codec.decode(json.dumps(payload).encode(), kind)

    assert f"This {kind.kind} has version 2; this Metier reads version 1." == str(caught.value)


def test_a_version_nobody_knows_is_refused_in_messagepack_too() -> None:
    payload = msgspec.msgpack.encode({"type": "task/2", "text": "hi"})
    with pytest.raises(errors.UnknownVersion, match="This task has version 2; this Metier reads version 1"):
        codec.decode(payload, Task, {codec.CONTENT_TYPE: codec.MSGPACK})


def test_what_clients_send_needs_no_type() -> None:
    assert {"verb": "status"} == json.loads((GOLDEN / "control-1.least.json").read_bytes())
    assert Control(verb="status") == read(GOLDEN / "control-1.least.json")
