"""The requests of the README bring the plans a person would expect, and answers that hold."""

from __future__ import annotations

import datetime as dt
import re

import msgspec
import pytest

from harness.local_team import LocalTeam
from metier.cluster.teams.trip.journey import Journey, check
from metier.cluster.teams.trip.listings import Flights, Hotels, decode
from metier.topics.client import Client
from metier.topics.messages import Answer, Context, State

#: A Wednesday.
TODAY = dt.date(2026, 11, 25)
LIMIT_S = 90.0


async def ask(client: Client, text: str, home: str | None = None) -> Answer:
    context = Context(date=TODAY, time_zone="Europe/London", home=home)
    return await client.ask(text, context=context, deadline_s=LIMIT_S)


def nodes(answer: Answer) -> dict[str, set[str]]:
    return {node.id: set(node.needs) for node in answer.plan.nodes}


def said(answer: Answer, node: str) -> dict[str, object]:
    call = answer.results[node].call
    assert call, answer.results[node]
    return {name: value for name, value in call.arguments.items() if value is not None}


TRIP = {"flights": set(), "hotels": set(), "guide": set(), "secretary": {"flights", "hotels", "guide"}}


@pytest.mark.parametrize(
    ("text", "origin", "city", "friday"),
    [
        ("Plan a weekend in Paris, leaving from London on Friday", "London", "Paris", dt.date(2026, 11, 27)),
        ("Planifie un week-end à Rome au départ de Lyon vendredi prochain", "Lyon", "Rome", dt.date(2026, 11, 27)),
    ],
)
async def test_a_weekend_is_planned_by_four_specialists_in_two_steps(
    client: Client, text: str, origin: str, city: str, friday: dt.date
) -> None:
    answer = await ask(client, text)

    assert State.OK is answer.status, answer.text
    assert nodes(answer) == TRIP
    assert () == answer.missing
    flight = said(answer, "flights")
    assert (origin, city, friday.isoformat()) == (flight["origin"], flight["destination"], flight["depart"])
    hotel = said(answer, "hotels")
    assert (city, friday.isoformat(), 2) == (hotel["city"], hotel["check_in"], hotel["nights"])
    assert city == said(answer, "guide")["city"]


async def test_the_itinerary_names_nothing_that_no_specialist_returned(client: Client) -> None:
    answer = await ask(client, "Plan a weekend in Paris, leaving from London on Friday")
    journey = msgspec.convert(answer.results["secretary"].data, Journey)

    assert [] == check(journey, {name: answer.results[name] for name in ("flights", "hotels", "guide")})
    assert "Total" in answer.text
    assert {"2026-11-27", "2026-11-28", "2026-11-29"} <= set(re.findall(r"\d{4}-\d\d-\d\d", str(answer.results)))


async def test_a_hotel_is_found_within_the_price_that_was_said(client: Client) -> None:
    answer = await ask(client, "Find me a hotel in Lyon for two nights from next Friday, under 120 euros")
    hotels = decode(answer.results["hotels"].data)

    assert State.OK is answer.status, answer.text
    assert {"hotels": set()} == nodes(answer)
    call = said(answer, "hotels")
    assert ("Lyon", "2026-12-04", 2, 120.0) == (call["city"], call["check_in"], call["nights"], call["max_price"])
    assert isinstance(hotels, Hotels)
    assert hotels.options
    assert all(hotel.price_eur <= 120 for hotel in hotels.options)


async def test_an_open_question_goes_to_the_large_model_whose_stand_in_is_named(client: Client) -> None:
    answer = await ask(client, "Tell me about the architectural features of the Baroque in Paris")

    assert State.OK is answer.status, answer.text
    assert {"large": set()} == nodes(answer)
    assert answer.text
    assert any("No large model is configured" in note for note in answer.notes)


async def test_a_meeting_is_written_into_the_calendar(client: Client, trip_team: LocalTeam) -> None:
    answer = await ask(client, "Add a meeting with Anna on Tuesday at three to my calendar")

    assert State.OK is answer.status, answer.text
    assert {"calendar": set()} == nodes(answer)
    call = said(answer, "calendar")
    assert ("2026-12-01", "15:00") == (call["day"], call["start"])
    written = (trip_team.directory / "calendar.ics").read_text()
    assert "Anna" in written
    assert "20261201T150000" in written


async def test_what_is_missing_is_asked_and_the_follow_up_goes_on_with_the_same_task(client: Client) -> None:
    first = await ask(client, "Book me a flight to Rome on Friday")

    assert State.INPUT_REQUIRED is first.status, first.text
    assert ("flights.origin",) == first.missing

    task = await client.follow_up(first.task_id, "From Lyon", deadline_s=LIMIT_S)
    second = await client.result(task)
    flights = decode(second.results["flights"].data)

    assert State.OK is second.status, second.text
    assert (first.task_id, 2) == (second.task_id, second.turn)
    assert ("Lyon", "Rome", "2026-11-27") == tuple(
        said(second, "flights")[name] for name in ("origin", "destination", "depart")
    )
    assert isinstance(flights, Flights)


async def test_a_city_that_does_not_exist_is_said_not_to(client: Client) -> None:
    answer = await ask(client, "Find a flight from Paris to Atlantis on Friday")

    assert State.FAILED is answer.status, answer.text
    assert {"flights": set()} == nodes(answer)
    assert "Atlantis" in answer.text
    assert "24 cities" in answer.text


async def test_a_date_that_does_not_exist_is_said_not_to(client: Client) -> None:
    answer = await ask(client, "Find me a hotel in Lyon for two nights from 31 November")

    assert State.FAILED is answer.status, answer.text
    assert "31 November" in answer.text
