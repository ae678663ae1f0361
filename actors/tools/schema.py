"""Tools that are described by a JSON Schema: those of MCP servers, and any other function's.

What a person says is copied and understood in code (`values.py`); choices are chosen; the rest obeys its schema.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from metier.topics.errors import InvalidTeam

from . import values
from .base import Missing, Offer, Request, marked
from .function import builtins, words_of
from .numerals import candidates

_DESCRIPTION_LIMIT = 80
_MEANING_LIMIT = 48
_CHOICES_LIMIT = 200
_ITEMS_LIMIT = 16

#: Formats of texts that are words of the request, and what code understands them as.
_SPOKEN: dict[str | None, type] = {None: str, "date": dt.date}
_NUMBERS: dict[str, type] = {"integer": int, "number": float}
_SHORT = {"integer": "int", "boolean": "true|false", "number": "number"}


class Described:
    """A tool by its name, its input schema and what it is for, as it is offered and understood.

    Raises InvalidTeam for a schema that refers to itself.
    """

    def __init__(self, name: str, schema: Mapping[str, Any], description: str | None = None) -> None:
        whole = inlined(dict(schema), name)
        self.name = name
        self.properties: dict[str, Any] = {key: _sole(kind) for key, kind in whole.get("properties", {}).items()}
        self.required: Collection[str] = frozenset(whole.get("required", ()))
        self._description = description
        self._brief = _signature(name, self.properties, self.required) + _summary(description)

    def only(self, names: Sequence[str]) -> Described:
        """The same tool with some of its arguments, in their order."""
        kept = {name: self.properties[name] for name in names}
        schema = {"type": "object", "properties": kept, "required": [name for name in names if name in self.required]}
        return Described(self.name, schema, self._description)

    def offer(self, request: Request) -> Offer:
        """Signature and first sentence; texts and dates are words of the request, numbers are numbers it says."""
        return Offer(
            name=self.name,
            brief=self._brief,
            schema={
                "type": "object",
                "properties": {name: _offered(kind, request) for name, kind in self.properties.items()},
                "required": list(self.properties),
                "additionalProperties": False,
            },
        )

    def understand(self, said: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """The arguments that were said, as values of their schema. Raises Missing or InvalidValue."""
        heard = {name: said[name] for name in self.properties if said.get(name) is not None}
        if missing := [name for name in self.properties if name in self.required and name not in heard]:
            raise Missing(*missing)
        return {name: _understood(self.properties[name], words, request) for name, words in heard.items()}


def _spoken(schema: dict[str, Any]) -> type | None:
    """The kind of value a schema asks for, if it is copied from the request and then understood."""
    if schema.get("type") != "string" or schema.keys() & {"enum", "const", "pattern"}:
        return None
    return _SPOKEN.get(schema.get("format"))


def _offered(schema: dict[str, Any], request: Request) -> dict[str, Any]:
    """A property as the model may fill it; null where the asker did not say it."""
    schema = _sole(schema)
    kind = schema.get("type")
    if _spoken(schema):
        words = words_of(request)
        if "enum" in words:
            return {"enum": list(dict.fromkeys([*words["enum"], *marked(request.text)]))}
        return words
    if "enum" in schema:
        return {"enum": [None, *(value for value in schema["enum"] if value is not None)]}
    if kind in ("integer", "number"):
        said = candidates(request.text)
        return {"enum": [None, *(value for value in said if kind == "number" or isinstance(value, int))]}
    if kind == "boolean":
        return {"enum": [None, True, False]}
    if kind == "array" and "items" in schema:
        return _list(_offered(schema["items"], request))
    if kind == "object" and schema.get("properties"):
        parts = {name: _offered(inner, request) for name, inner in schema["properties"].items()}
        whole = {"type": "object", "properties": parts, "required": list(parts), "additionalProperties": False}
        return {"anyOf": [{"type": "null"}, whole]}
    return {"anyOf": [{"type": "null"}, schema]}


def _list(item: dict[str, Any]) -> dict[str, Any]:
    """Null, or a list of what a single value may be but null."""
    if "enum" in item:
        item = {"enum": [value for value in item["enum"] if value is not None]}
    elif "anyOf" in item:
        item = item["anyOf"][-1]
    if item.get("enum") == []:
        return {"type": "null"}
    return {"anyOf": [{"type": "null"}, {"type": "array", "items": item, "minItems": 1, "maxItems": _ITEMS_LIMIT}]}


def _understood(schema: dict[str, Any], said: Any, request: Request) -> Any:
    schema = _sole(schema)
    if isinstance(said, list):
        return [_understood(schema["items"], each, request) for each in said] if "items" in schema else said
    if isinstance(said, dict) and schema.get("properties"):
        parts = schema["properties"]
        return {name: _understood(parts[name], each, request) for name, each in said.items() if each is not None}
    # An engine without a grammar may say a number in words.
    kind = _spoken(schema) or (_NUMBERS.get(str(schema.get("type"))) if isinstance(said, str) else None)
    return said if kind is None else builtins(values.understand(kind, said, request))


def _signature(name: str, properties: Mapping[str, dict[str, Any]], required: Collection[str]) -> str:
    """A tool in one line: `book(city (where to stay), nights: int, board?: half|full, guests?: [text])`."""
    parts = (
        f"{key}{'?' * (key not in required)}{_hint(kind)}{_meaning(key, kind)}" for key, kind in properties.items()
    )
    return f"{name}({', '.join(parts)})"


def _hint(schema: dict[str, Any]) -> str:
    """What kind of value is asked for, where it is no plain text."""
    schema = _sole(schema)
    if "enum" in schema:
        choices = [str(value) for value in schema["enum"] if value is not None]
        shown = "|".join(choices)
        return f": {shown}" if len(shown) <= _CHOICES_LIMIT else f": {choices[0]}|{choices[1]}|..."
    kind = schema.get("type")
    if kind == "array":
        return f": [{_hint(schema.get('items', {})).removeprefix(': ') or 'text'}]"
    if kind == "object" and schema.get("properties"):
        return f": {{{', '.join(schema['properties'])}}}"
    return f": {_SHORT[kind]}" if kind in _SHORT else ""


def _meaning(name: str, schema: dict[str, Any]) -> str:
    """What an argument is for, in a few words behind it; nothing if its name says as much, or its choices do."""
    sole = _sole(schema)
    if "enum" in sole or sole.get("type") == "boolean":
        return ""
    told = re.split(r"[,;:.!?(\[{\n]", str(schema.get("description") or sole.get("description") or ""), maxsplit=1)[0]
    told = re.sub(r"^(the|an?)\s+|[)\]}\"|]", "", told.strip(), flags=re.IGNORECASE)
    if len(told) > _MEANING_LIMIT:
        told = told[:_MEANING_LIMIT].rpartition(" ")[0]
    return f" ({told})" if _words(told) - _words(name) else ""


def _words(text: str) -> set[str]:
    """The words of a text or of a name such as `fromCity`."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[^\W\d_]+", text)} - {"the", "a", "an", "of"}


def _sole(schema: dict[str, Any]) -> dict[str, Any]:
    """T for "T or null", which the offer adds anyway."""
    parts = [part for part in schema.get("anyOf", ()) if part != {"type": "null"}]
    return parts[0] if len(parts) == 1 else schema


def _summary(description: str | None) -> str:
    sentence = re.split(r"(?<=[.!?])\s|\n", (description or "").strip(), maxsplit=1)[0]
    return f" - {sentence[:_DESCRIPTION_LIMIT].rstrip()}" if sentence else ""


def inlined(schema: dict[str, Any], tool: str) -> dict[str, Any]:
    """The schema without references: it may be set inside another. Raises InvalidTeam for a recursive one."""

    def resolved(node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [resolved(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        if (reference := node.get("$ref")) is not None:
            if reference in inside:
                raise InvalidTeam(path=tool, reason=f"its input schema is recursive ({reference})")
            return resolved(_at(schema, reference, tool), (*inside, reference))
        return {key: resolved(item, inside) for key, item in node.items() if key != "$defs"}

    return resolved(schema, ())  # type: ignore[no-any-return]


def _at(schema: dict[str, Any], reference: str, tool: str) -> Any:
    node: Any = schema
    for key in reference.removeprefix("#/").split("/"):
        if not isinstance(node, dict) or key not in node:
            raise InvalidTeam(path=tool, reason=f"its input schema refers to {reference}, which is not in it")
        node = node[key]
    return node
