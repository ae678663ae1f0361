"""The check of planned trips: it passes what is right, and finds what is not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from metier.actors.tools.base import Request
from metier.actors.tools.values import Nights
from metier.cluster.teams.trip.candidates import gather
from metier.cluster.teams.trip.catalogue import Catalogue
from metier.cluster.teams.trip.itinerary import arrange
from metier.cluster.teams.trip.journey import Journey
from metier.cluster.teams.trip.teacher import best
from metier.cluster.teams.trip.tools import find_flights, find_hotels, find_sights
from metier.cluster.teams.trip.trips import Wish, faults, ungrounded, wishes
from metier.topics.messages import Answer, Call, Cost, Finding, PlanGraph, State

WISH = wishes(1, seed=7)[0]


def found(name: str, data: Any, call: Call | None = None) -> Finding:
    return Finding(state=State.OK, specialist=name, text=str(data), data=msgspec.to_builtins(data), call=call)


@pytest.fixture
async def right() -> Answer:
    """What a team answers that plans as the teacher does."""
    request = Request(text=WISH.text, today=dt.date(2026, 11, 23))
    catalogue, nights = Catalogue(), Nights(WISH.nights)
    given: dict[str, Any] = {"travel": catalogue, "request": request}
    flights = await find_flights(WISH.origin, WISH.city, WISH.day, nights=nights, travellers=WISH.people, **given)
    hotels = await find_hotels(WISH.city, WISH.day, nights=nights, guests=WISH.people, **given)
    sights = await find_sights(WISH.city, WISH.day, nights, **given)
    call = Call(tool="find_flights", arguments={"origin": str(WISH.origin)})
    results = {
        "flights": found("flights", flights, call),
        "hotels": found("hotels", hotels),
        "guide": found("guide", sights),
    }
    journey, _ = arrange(gather(results), best(msgspec.structs.replace(request, inputs=results)))
    return Answer(
        task_id="1",
        tenant="default",
        turn=1,
        status=State.OK,
        text=str(journey),
        plan=PlanGraph(nodes=()),
        results={**results, "secretary": found("secretary", journey)},
        missing=(),
        cost=Cost(usd=0, large_model_usd=0, prompt_tokens=0, output_tokens=0, model_seconds=0),
        trace_id="",
    )


def journey_of(answer: Answer) -> Journey:
    return msgspec.convert(answer.results["secretary"].data, Journey)


def changed(answer: Answer, change: Callable[[Journey], Journey]) -> Answer:
    secretary = found("secretary", change(journey_of(answer)))
    return msgspec.structs.replace(answer, results={**answer.results, "secretary": secretary})


def test_a_trip_as_it_was_asked_for_has_no_faults(right: Answer) -> None:
    assert ([], []) == (faults(WISH, right), ungrounded(right))


@pytest.mark.parametrize(
    ("fault", "wish"),
    [
        ("city", {"city": "Atlantis"}),
        ("travellers", {"people": 9}),
        ("days", {"nights": WISH.nights + 1}),
        ("stay", {"day": WISH.day + dt.timedelta(days=1)}),
        ("leaves from", {"origin": "Atlantis"}),
    ],
)
def test_what_was_asked_otherwise_is_a_fault(right: Answer, fault: str, wish: dict[str, Any]) -> None:
    assert fault in " ".join(faults(msgspec.structs.replace(WISH, **wish), right))


def test_a_price_that_no_tool_returned_is_found(right: Answer) -> None:
    def dearer(journey: Journey) -> Journey:
        assert journey.hotel is not None
        return msgspec.structs.replace(journey, hotel=msgspec.structs.replace(journey.hotel, price_eur=123456.0))

    wrong = changed(right, dearer)
    assert "costs" in " ".join(faults(WISH, wrong))
    assert ["€123456"] == ungrounded(wrong)


def test_a_false_sum_is_found(right: Answer) -> None:
    def cheaper(journey: Journey) -> Journey:
        return msgspec.structs.replace(journey, total=msgspec.structs.replace(journey.total, total_eur=1.0))

    wrong = changed(right, cheaper)
    assert "is not the sum" in " ".join(faults(WISH, wrong))
    assert ungrounded(wrong)


def test_no_itinerary_is_a_fault(right: Answer) -> None:
    none = msgspec.structs.replace(right, results={}, status=State.FAILED)
    assert "no itinerary" in faults(WISH, none)[0]


def test_wishes_are_many_and_the_same_for_a_seed() -> None:
    made = wishes(100, seed=7)
    assert made == wishes(100, seed=7)
    assert 100 == len({wish.text for wish in made})
    assert all(isinstance(wish, Wish) and wish.origin != wish.city for wish in made)
