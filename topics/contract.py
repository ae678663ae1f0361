"""What other services rely on, as files: a JSON Schema for each message, and an AsyncAPI document for clients.

    python -m metier.topics.contract [--out DIR]

Everything comes from `messages.py` and `subjects.py`: structs become schemas, their docstrings and `#:` comments
descriptions. A test compares `ops/contract` with what this makes.
"""

from __future__ import annotations

import argparse
import ast
import inspect
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from . import messages
from .messages import Control, Message, Task

#: Source: https://json-schema.org/draft/2020-12.
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
#: What clients send may leave its `type` out: the subject says what it is.
UNTYPED: Final = (Task, Control)

Json = dict[str, Any]


def kinds() -> list[type[Message]]:
    """Every message, in the order a task meets them."""
    return Message.__subclasses__()


def schemas(of: list[type[Message]], place: str) -> tuple[list[Json], dict[str, Json]]:
    """A reference for each message, and what they refer to below `place`, described."""
    references, found = msgspec.json.schema_components(of, ref_template=f"{place}/{{name}}")
    notes = _notes()
    for name, schema in found.items():
        _describe(schema, getattr(messages, name), notes[name])
    return list(references), found


def schema(kind: type[Message]) -> Json:
    """One message as a JSON Schema that stands alone."""
    _, found = schemas([kind], "#/$defs")
    own = found.pop(kind.__name__)
    head = {"$schema": DIALECT, "$id": f"urn:metier:{kind.kind}:{kind.version}"}
    return head | own | ({"$defs": found} if found else {})


def files() -> dict[str, Json]:
    """Every file of the contract by its name."""
    from .asyncapi import document

    each = {f"schemas/{kind.kind}-{kind.version}.json": schema(kind) for kind in kinds()}
    return {"asyncapi.json": document(), **each}


def text(content: Json) -> str:
    """A file's text."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(
        prog="python -m metier.topics.contract", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--out", type=Path, default=Path("ops/contract"), metavar="DIR", help="default ops/contract")
    out: Path = parser.parse_args().out
    for name, content in files().items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text(content))


def _describe(schema: Json, kind: Any, notes: dict[str, str]) -> None:
    """Puts into a schema what its class says beside its fields."""
    if issubclass(kind, StrEnum):
        schema["enum"] = [str(member) for member in kind]
        said = [f"{member}: {notes[member.name]}" for member in kind if member.name in notes]
        schema["description"] = "\n".join([schema["description"], *said])
        return
    if issubclass(kind, UNTYPED):
        schema["required"].remove("type")
    if not schema["required"]:
        del schema["required"]
    for field in msgspec.structs.fields(kind):
        shown = schema["properties"][field.encode_name]
        if field.name in notes:
            shown["description"] = notes[field.name]
        if "enum" in shown:  # as written, not by the alphabet
            shown["enum"] = list(field.type.__args__)


def _notes() -> dict[str, dict[str, str]]:
    """The `#:` comments of `messages.py`, by class and field."""
    source = inspect.getsource(messages)
    lines = source.splitlines()
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            notes = ((_name(part), _note(lines, part.lineno - 1)) for part in node.body)
            found[node.name] = {name: note for name, note in notes if name and note}
    return found


def _name(part: ast.stmt) -> str:
    match part:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def _note(lines: list[str], line: int) -> str:
    """The comment right above a line."""
    first = line
    while lines[first - 1].lstrip().startswith("#:"):
        first -= 1
    return " ".join(above.strip().removeprefix("#:").strip() for above in lines[first:line])


if __name__ == "__main__":
    main()
