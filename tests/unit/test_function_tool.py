"""Typed functions as tools."""

from __future__ import annotations

import datetime as dt
import threading
from enum import StrEnum
from typing import Any, Literal

import msgspec
import pytest

from metier.actors.tools.base import Missing, Request, spans
from metier.actors.tools.function import FunctionTool, load_function
from metier.actors.tools.values import Money, Nights
from metier.topics.errors import InvalidTeam, InvalidValue, ToolFailed

REQUEST = Request(text="A room in Lyon from Friday at three", today=dt.date(2026, 11, 25))


class Board(StrEnum):
    NONE = "none"
    BREAKFAST = "breakfast"


class Stay(msgspec.Struct, frozen=True):
    city: str
    nights: int
    arrival: dt.time | None

    def __str__(self) -> str:
        return f"{self.nights} nights in {self.city}"


async def book(
    city: str,
    check_in: dt.date,
    from_: dt.time | None = None,
    nights: Nights = Nights(2),  # noqa: B008 - an int
    board: Board = Board.NONE,
    *,
    request: Request,
    prices: dict[str, float],
) -> Stay:
    assert request is REQUEST
    assert check_in.weekday() == 4
    return Stay(f"{city} at {prices[city]:g}", nights, from_)


BOOK = FunctionTool(book, {"prices": {"Lyon": 90.0}})


def said(**arguments: Any) -> dict[str, Any]:
    return {"city": "Lyon", "check_in": "Friday", "from": None, "nights": None, "board": None, **arguments}


def test_an_offer_shows_the_signature_without_what_is_injected() -> None:
    assert BOOK.offer(REQUEST).brief == "book(city, check_in, from?, nights?, board?)"


def test_an_offer_asks_for_words_of_the_request_or_null() -> None:
    words = {"enum": [None, *spans(REQUEST.text)]}
    properties = {"city": words, "check_in": words, "from": words, "nights": words}
    assert BOOK.offer(REQUEST).schema == {
        "type": "object",
        "properties": {**properties, "board": {"enum": [None, "none", "breakfast"]}},
        "required": ["city", "check_in", "from", "nights", "board"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(("free", "words"), [(False, 200), (True, 201)])
def test_a_long_request_is_answered_in_free_text(free: bool, words: int) -> None:
    offer = BOOK.offer(Request(text="word " * words, today=REQUEST.today))
    assert free == (offer.schema["properties"]["city"] == {"type": ["string", "null"], "maxLength": 120})


async def test_a_call_understands_runs_and_returns_plain_data() -> None:
    outcome = await BOOK.call(said(**{"from": "three", "nights": "a week", "board": "breakfast"}), REQUEST)
    assert outcome.text == "7 nights in Lyon at 90"
    assert outcome.data == {"city": "Lyon at 90", "nights": 7, "arrival": "15:00:00"}
    assert outcome.arguments == {
        "city": "Lyon",
        "check_in": "2026-11-27",
        "from": "15:00",
        "nights": 7,
        "board": "breakfast",
    }


async def test_what_was_not_said_has_the_functions_default() -> None:
    outcome = await BOOK.call(said(), REQUEST)
    assert outcome.data == {"city": "Lyon at 90", "nights": 2, "arrival": None}
    assert outcome.arguments == {"city": "Lyon", "check_in": "2026-11-27"}


async def test_every_required_argument_that_was_not_said_is_missing() -> None:
    with pytest.raises(Missing) as caught:
        await BOOK.call(said(city=None, check_in=""), REQUEST)
    assert caught.value.names == ("city", "check_in")


async def test_words_that_are_no_date_are_refused() -> None:
    with pytest.raises(InvalidValue, match="'Lyon' is not a date"):
        await BOOK.call(said(check_in="Lyon"), REQUEST)


async def test_a_sync_function_runs_in_a_thread() -> None:
    def where() -> str:
        return threading.current_thread().name

    assert threading.main_thread().name != (await FunctionTool(where).call({}, REQUEST)).text


async def test_kinds_become_what_they_are_made_of() -> None:
    def price(limit: Money, stay: dt.timedelta) -> dict[str, Any]:
        return {"limit": limit, "hours": [stay.total_seconds() / 3600]}

    outcome = await FunctionTool(price).call({"limit": "€80", "stay": "an hour"}, REQUEST)
    assert ({"limit": 80.0, "stay": "PT3600S"}, {"limit": 80.0, "hours": [1.0]}) == (outcome.arguments, outcome.data)


async def test_a_result_that_is_not_plain_data_is_a_failed_tool() -> None:
    def broken() -> object:
        return object()

    with pytest.raises(ToolFailed, match="broken: it returned what is not plain data: object is neither"):
        await FunctionTool(broken).call({}, REQUEST)


async def test_what_a_function_raises_goes_through() -> None:
    def full() -> str:
        raise ToolFailed(tool="book", reason="no room is free")

    with pytest.raises(ToolFailed, match=r"book: no room is free\."):
        await FunctionTool(full).call({}, REQUEST)


async def test_a_literal_offers_its_values() -> None:
    def travel(by: Literal["air", "rail"] = "rail") -> str:
        return by

    tool = FunctionTool(travel)
    assert {"by": {"enum": [None, "air", "rail"]}} == tool.offer(REQUEST).schema["properties"]
    assert (await tool.call({"by": "air"}, REQUEST)).text == "air"


async def test_an_argument_that_may_be_none_is_optional_without_a_default() -> None:
    def leave(origin: str | None, to: str) -> str:
        return f"{origin} to {to}"

    tool = FunctionTool(leave)
    assert tool.offer(REQUEST).brief == "leave(origin?, to)"
    assert (await tool.call({"origin": None, "to": "Lyon"}, REQUEST)).text == "None to Lyon"


def no_annotation(city) -> str:  # type: ignore[no-untyped-def]
    return str(city)


def many(*cities: str) -> str:
    return " ".join(cities)


def unknown(city: bytes) -> str:
    return city.decode()


def lost(city: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821  # pyright: ignore[reportUndefinedVariable]
    return str(city)


def provided(*, prices: dict[str, float]) -> str:
    return str(prices)


@pytest.mark.parametrize(
    ("reason", "function"),
    [
        ("parameter city has no annotation", no_annotation),
        (r"parameter \*cities: .* no \* or / parameters", many),
        ("parameter city: <class 'bytes'> is not a kind of value", unknown),
        ("its annotations cannot be read: name 'Nowhere' is not defined", lost),
        ("no provider 'prices' for it; there are: hotels", provided),
    ],
)
def test_a_function_a_model_cannot_call_is_refused_by_name(reason: str, function: Any) -> None:
    with pytest.raises(InvalidTeam, match=f"test_function_tool:{function.__name__}: .*{reason}"):
        FunctionTool(function, {"hotels": object()})


def test_a_tool_is_loaded_by_its_path() -> None:
    assert load_function("metier.actors.tools.dates:resolve_day").__name__ == "resolve_day"


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ('dates: write a tool as "package.module:function".', "dates"),
        ("metier.nowhere:find: there is no module metier.nowhere.", "metier.nowhere:find"),
        (
            "metier.actors.tools.dates:find: module metier.actors.tools.dates has no find.",
            "metier.actors.tools.dates:find",
        ),
        ("metier.actors.tools.dates:calendar: calendar is not a function.", "metier.actors.tools.dates:calendar"),
    ],
)
def test_a_tool_that_is_not_there_is_refused_by_its_path(message: str, path: str) -> None:
    with pytest.raises(InvalidTeam) as caught:
        load_function(path)
    assert message == str(caught.value)
