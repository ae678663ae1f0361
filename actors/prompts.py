"""How a specialist's model is spoken to. Training and serving both call this, so that they cannot differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from .engines.base import Prompt, Turn
from .tools.base import Offer, Request


def call_prompt(offers: Sequence[Offer], request: Request, adapter: str | None, *, may_refuse: bool = False) -> Prompt:
    """The prompt that makes a model choose a tool and its arguments, or none of the tools if it may refuse."""
    return Prompt(
        turns=(
            Turn("system", "\n".join(offer.brief for offer in offers)),
            Turn("user", request.text),
        ),
        schema=call_schema(offers, may_refuse=may_refuse),
        adapter=adapter,
        max_tokens=320,
    )


def call_schema(offers: Sequence[Offer], *, may_refuse: bool = False) -> dict[str, Any]:
    """One tool: its arguments. Several, or one that may be refused: a tool's name, then its arguments."""
    if len(offers) == 1 and not may_refuse:
        return offers[0].schema
    choices: list[dict[str, Any]] = [
        {
            "type": "object",
            "properties": {"tool": {"const": offer.name}, "arguments": offer.schema},
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for offer in offers
    ]
    return {"anyOf": [*choices, _REFUSAL] if may_refuse else choices}


def parse_call(offers: Sequence[Offer], output: str, *, may_refuse: bool = False) -> tuple[str, dict[str, Any]] | None:
    """Tool name and arguments of an output that obeys `call_schema`; None for a refusal.

    Raises DecodeError if it was cut short.
    """
    if len(offers) == 1 and not may_refuse:
        return offers[0].name, msgspec.json.decode(output, type=dict[str, Any])
    call = msgspec.json.decode(output, type=_Call)
    return None if call.tool is None else (call.tool, call.arguments)


def call_text(offers: Sequence[Offer], call: tuple[str, dict[str, Any]] | None, *, may_refuse: bool = False) -> str:
    """The output that stands for a call, or for none: what training teaches. Compact, keys in the schema's order."""
    if call is None:
        return msgspec.json.encode({"tool": None}).decode()
    tool, arguments = call
    whole = {"tool": tool, "arguments": arguments} if may_refuse or len(offers) > 1 else arguments
    return msgspec.json.encode(whole).decode()


_REFUSAL: dict[str, Any] = {
    "type": "object",
    "properties": {"tool": {"type": "null"}},
    "required": ["tool"],
    "additionalProperties": False,
}


class _Call(msgspec.Struct):
    tool: str | None
    arguments: dict[str, Any] = {}
