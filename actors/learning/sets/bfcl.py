"""The Berkeley Function Calling Leaderboard: its single-turn cases, and its match of one call by syntax.

For evaluation only, never for training. The rules:
https://gorilla.cs.berkeley.edu/blogs/8_berkeley_function_calling_leaderboard.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypedDict

import msgspec

from metier.topics.errors import InvalidInput

NAME = "eval.jsonl"

#: The set's names of types that JSON Schema calls otherwise; "any" is no type at all.
_TYPES = {"dict": "object", "float": "number", "tuple": "array"}
#: What a choice must be to be of its type.
_CHOICES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_KEPT = ("description", "default", "required", "format", "minItems", "maxItems")
#: Among the accepted values of an argument: it may be left out.
_OMITTED = ""
_IGNORED = str.maketrans("", "", " ,./-_*^'\"")


class Function(TypedDict):
    """A function as the set declares it."""

    name: str
    description: str
    #: The set's own kind of schema: `json_schema` translates it.
    parameters: dict[str, Any]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A request, the functions on offer, and the calls that answer it."""

    id: str
    category: str
    #: The user's last message, after those before it.
    text: str
    functions: list[Function]
    #: Calls, all needed: accepted values by argument by function. Empty where any call will do, None where none will.
    accepted: list[dict[str, dict[str, list[Any]]]] | None


class _Message(msgspec.Struct):
    content: str


class _Row(msgspec.Struct):
    id: str
    category: str
    messages: list[_Message]
    functions: list[Function]
    ground_truth: list[dict[str, dict[str, list[Any]]]] | None

    def case(self) -> Case:
        # The set has null both where no call is right and where any relevant call is.
        accepted = [] if self.category == "live_relevance" else self.ground_truth
        return Case(
            id=self.id,
            category=self.category,
            text="\n".join(message.content for message in self.messages),
            functions=self.functions,
            accepted=accepted,
        )


def read(folder: Path, categories: Collection[str] = ("simple_python", "multiple", "irrelevance")) -> list[Case]:
    """The cases of some categories, in the order of the file. Raises InvalidInput."""
    path = folder / NAME
    try:
        rows = msgspec.json.Decoder(_Row).decode_lines(path.read_bytes())
    except OSError as error:
        raise InvalidInput(reason=f"{path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise InvalidInput(reason=f"{path} does not hold the leaderboard's cases: {error}") from error
    known = sorted({row.category for row in rows})
    if lacking := [name for name in categories if name not in known]:
        raise InvalidInput(reason=f"{path} has no category {', '.join(lacking)}; it has: {', '.join(known) or 'none'}")
    return [row.case() for row in rows if row.category in categories]


def answerable(case: Case) -> bool:
    """Whether one call, or none, can answer a case."""
    return case.accepted is None or len(case.accepted) < 2


def json_schema(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schema of parameters as the set declares them."""
    schema = {key: parameters[key] for key in _KEPT if key in parameters}
    declared: str = parameters.get("type", "any")
    kind: str = _TYPES.get(declared, declared)
    if kind != "any":
        schema["type"] = kind
    if "properties" in parameters:
        schema["properties"] = {name: json_schema(inner) for name, inner in parameters["properties"].items()}
    inner = dict(parameters.get("items", {}))
    choices = parameters.get("enum")
    if kind == "array" and choices:
        # The set writes the choices of the items beside them.
        inner, choices = inner | {"enum": choices}, None
    if inner:
        schema["items"] = json_schema(inner)
    # Some choices are written in another type, "1" for the integer 1: no value could be both.
    if choices := [choice for choice in choices or () if type(choice) in _CHOICES.get(kind, (type(choice),))]:
        schema["enum"] = choices
    return schema


def right(case: Case, call: tuple[str, Mapping[str, Any]] | None) -> bool:
    """Whether a call, or None for no call, answers a case. An argument that is null was not given."""
    if case.accepted is None or call is None:
        return case.accepted is None and call is None
    if not case.accepted:
        return True
    name, given = call
    if len(case.accepted) > 1 or name not in case.accepted[0]:
        return False
    schema = next((json_schema(function["parameters"]) for function in case.functions if function["name"] == name), {})
    return _fits(given, case.accepted[0][name], schema.get("properties", {}), schema.get("required", ()))


def _fits(
    given: Mapping[str, Any],
    accepted: Mapping[str, Any],
    schemas: Mapping[str, Any],
    required: Collection[str] = (),
) -> bool:
    """Whether each value given is accepted, and none lacks that may not be left out."""
    said = {name: value for name, value in given.items() if value is not None}
    if not said.keys() <= accepted.keys():
        return False
    for name, values in accepted.items():
        # Inside a nested object a value may stand alone.
        allowed = values if isinstance(values, list) else [values]
        if name in said:
            if not _among(said[name], allowed, schemas.get(name, {})):
                return False
        elif None not in allowed and (name in required or _OMITTED not in allowed):
            return False
    return True


def _among(given: Any, allowed: list[Any], schema: Mapping[str, Any]) -> bool:
    """Whether a value is an accepted one; the mark of what may be left out is a value of texts only."""
    return any(_same(given, value, schema) for value in allowed if value != _OMITTED or schema.get("type") == "string")


def _same(given: Any, accepted: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(given, dict) and isinstance(accepted, dict):
        return _fits(given, accepted, schema.get("properties", {}))
    if isinstance(given, list) and isinstance(accepted, list):
        items = schema.get("items", {})
        return len(given) == len(accepted) and all(
            _same(one, other, items) for one, other in zip(given, accepted, strict=True)
        )
    if isinstance(given, str) and isinstance(accepted, str):
        return _plain(given) == _plain(accepted)
    if isinstance(given, bool) or isinstance(accepted, bool):
        return given is accepted
    if isinstance(given, float) and schema.get("type") == "integer":
        return False
    return bool(given == accepted)


def _plain(text: str) -> str:
    return text.lower().translate(_IGNORED)
