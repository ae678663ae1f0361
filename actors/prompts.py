"""How a specialist's model is spoken to. Training and serving both call this, so that they cannot differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from .engines.base import Prompt, Turn
from .tools.base import Offer, Request


def call_prompt(offers: Sequence[Offer], request: Request, adapter: str | None) -> Prompt:
    """The prompt that makes a model choose a tool and its arguments."""
    return Prompt(
        turns=(
            Turn("system", "\n".join(offer.brief for offer in offers)),
            Turn("user", request.text),
        ),
        schema=call_schema(offers),
        adapter=adapter,
        max_tokens=320,
    )


def call_schema(offers: Sequence[Offer]) -> dict[str, Any]:
    """One tool: its arguments. Several: a tool's name, then its arguments."""
    if len(offers) == 1:
        return offers[0].schema
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": {"tool": {"const": offer.name}, "arguments": offer.schema},
                "required": ["tool", "arguments"],
                "additionalProperties": False,
            }
            for offer in offers
        ]
    }


def parse_call(offers: Sequence[Offer], output: str) -> tuple[str, dict[str, Any]]:
    """Tool name and arguments of an output that obeys `call_schema(offers)`. Raises DecodeError if it was cut short."""
    if len(offers) == 1:
        return offers[0].name, msgspec.json.decode(output, type=dict[str, Any])
    call = msgspec.json.decode(output, type=_Call)
    return call.tool, call.arguments


def call_text(offers: Sequence[Offer], tool: str, arguments: dict[str, Any]) -> str:
    """The output that stands for a call: what training teaches. Compact JSON, keys in the schema's order."""
    call = arguments if len(offers) == 1 else {"tool": tool, "arguments": arguments}
    return msgspec.json.encode(call).decode()


class _Call(msgspec.Struct):
    tool: str
    arguments: dict[str, Any]
