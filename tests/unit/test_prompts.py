"""What a model is asked, and how its output is read."""

from __future__ import annotations

import datetime as dt
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from metier.actors.prompts import call_prompt, call_schema, call_text, parse_call
from metier.actors.tools.base import Request
from metier.actors.tools.schema import Described

REQUEST = Request(text="two seats to Rome", today=dt.date(2026, 11, 23))
TEXT = {"type": "string"}
OFFERS = [
    Described("fly", {"type": "object", "properties": {"city": TEXT, "seats": TEXT}, "required": ["city"]}).offer(
        REQUEST
    ),
    Described("sail", {"type": "object", "properties": {"city": TEXT}}, "Finds ships. Slowly.").offer(REQUEST),
]
FLY = ("fly", {"city": "Rome", "seats": "two"})


def test_a_model_reads_signatures_and_then_the_request() -> None:
    system, user = call_prompt(OFFERS, REQUEST, None).turns

    assert "fly(city, seats?)\nsail(city?) - Finds ships." == system.content
    assert "two seats to Rome" == user.content


@pytest.mark.parametrize("may_refuse", [False, True])
@pytest.mark.parametrize("offers", [OFFERS, OFFERS[:1]], ids=["two tools", "one tool"])
def test_a_call_is_written_as_the_schema_has_it_and_read_again(offers: list[Any], may_refuse: bool) -> None:
    written = call_text(offers, FLY, may_refuse=may_refuse)

    jsonschema.validate(msgspec.json.decode(written), call_schema(offers, may_refuse=may_refuse))
    assert FLY == parse_call(offers, written, may_refuse=may_refuse)


@pytest.mark.parametrize("offers", [OFFERS, OFFERS[:1]], ids=["two tools", "one tool"])
def test_a_model_that_may_refuse_calls_nothing(offers: list[Any]) -> None:
    written = call_text(offers, None, may_refuse=True)

    jsonschema.validate(msgspec.json.decode(written), call_schema(offers, may_refuse=True))
    assert parse_call(offers, written, may_refuse=True) is None


@pytest.mark.parametrize("offers", [OFFERS, OFFERS[:1]], ids=["two tools", "one tool"])
def test_a_model_that_may_not_refuse_must_call(offers: list[Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"tool": None}, call_schema(offers))
