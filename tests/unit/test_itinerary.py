"""The secretary's tool plans only what is possible and was found, and adds it up."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from metier.actors.tools.base import Request
from metier.actors.tools.function import FunctionTool
from metier.cluster.teams.trip import tools
from metier.cluster.teams.trip.catalogue import Catalogue
from metier.cluster.teams.trip.itinerary import Itinerary
from metier.cluster.teams.trip.journey import Journey, check
from metier.cluster.teams.trip.places import City
from metier.cluster.teams.trip.teacher import best
from metier.topics.errors import InvalidValue, ToolFailed
from metier.topics.messages import Finding, State

TODAY = dt.date(2026, 11, 23)
TRAVEL = Catalogue()
NODES: dict[str, Callable[..., Any]] = {
    "flights": tools.find_flights,
    "hotels": tools.find_hotels,
    "guide": tools.find_sights,
    "restaurants": tools.find_restaurants,
    "weather": tools.forecast,
}


async def found(node: str, **said: str) -> Finding:
    outcome = await FunctionTool(NODES[node], {"travel": TRAVEL}).call(said, Request(text="", today=TODAY))
    data = json.loads(json.dumps(outcome.data))
    return Finding(state=State.OK, specialist=node, text=outcome.text, data=data)


async def weekend(
    origin: str = "London", city: str = "Paris", day: str = "2026-11-27", nights: str = "2", people: str = "1"
) -> dict[str, Finding]:
    return {
        "flights": await found(
            "flights", origin=origin, destination=city, depart=day, nights=nights, travellers=people
        ),
        "hotels": await found("hotels", city=city, check_in=day, nights=nights, guests=people),
        "guide": await found("guide", city=city, day=day, nights=nights),
        "restaurants": await found("restaurants", city=city),
        "weather": await found("weather", city=city, day=day, nights=nights),
    }


def asked(inputs: Mapping[str, Finding]) -> Request:
    return Request(text="Plan a weekend in Paris", today=TODAY, inputs=inputs)


async def planned(inputs: Mapping[str, Finding], said: Mapping[str, Any] | None = None) -> Journey:
    outcome = await Itinerary().call(best(asked(inputs)) if said is None else said, asked(inputs))
    journey = msgspec.convert(outcome.data, Journey)
    assert str(journey) == outcome.text
    return journey


async def test_the_brief_names_each_candidate_on_a_line() -> None:
    lines = Itinerary().offer(asked(await weekend())).brief.split("\n")

    assert lines[0] == "itinerary"
    assert [line.split()[0] for line in lines[1:]] == [
        *("O1", "O2", "O3", "B1", "B2", "B3", "H1", "H2", "H3"),
        *("S1", "S2", "S3", "S4", "S5", "S6", "R1", "R2", "R3"),
    ]
    assert "S1 Louvre Museum (Louvre) 180 min €22 09:00-18:00, closed Tue" in lines


async def test_the_schema_asks_for_each_part_of_each_day_in_order() -> None:
    schema = Itinerary().offer(asked(await weekend())).schema

    assert list(schema["properties"]) == ["outbound", "back", "hotel", "2026-11-27", "2026-11-28", "2026-11-29"]
    assert list(schema["properties"]["2026-11-28"]["properties"]) == ["morning", "afternoon", "evening"]
    assert schema["properties"]["hotel"] == {"enum": ["H1", "H2", "H3"]}
    assert schema["required"] == list(schema["properties"])


async def test_only_what_is_open_can_be_chosen() -> None:
    inputs = await weekend(day="2026-11-28", nights="3")
    offer = Itinerary().offer(asked(inputs))
    louvre, orsay = (
        next(line.split()[0] for line in offer.brief.split("\n") if name in line)
        for name in ("Louvre Museum", "Musée d'Orsay")
    )
    days = {day: schema["properties"] for day, schema in offer.schema["properties"].items() if day.startswith("2026")}

    assert orsay in days["2026-11-29"]["morning"]["enum"]
    assert orsay not in days["2026-11-30"]["morning"]["enum"]
    assert louvre in days["2026-11-30"]["morning"]["enum"]
    assert louvre not in days["2026-11-30"]["evening"]["enum"]
    assert all(None in slot["enum"] for slots in days.values() for slot in slots.values())


async def test_no_visit_comes_before_the_first_landing() -> None:
    inputs = await weekend(origin="Los Angeles")
    days = Itinerary().offer(asked(inputs)).schema["properties"]

    assert "2026-11-27" not in days


async def test_an_itinerary_has_days_times_prices_and_a_total() -> None:
    journey = await planned(await weekend(people="2"))

    assert str(journey) == EXPECTED


EXPECTED = """\
Paris, Fri 27 Nov 2026 to Sun 29 Nov 2026, 2 travellers
Hotel: Hôtel du Canal Vert, République ★★★, Fri 27 Nov 2026 to Sun 29 Nov 2026 (2 nights), €238
Fri 27 Nov 2026: 6 to 11 °C, rain 45 % (typical for the season, not a forecast)
  10:25-12:35  Flight SMJ224, London to Paris, €132
  14:05-17:05  Louvre Museum, Louvre, €44
  19:00-20:45  Dinner at Le Bouillon des Quais, Saint-Germain (French), €64
Sat 28 Nov 2026: 6 to 11 °C, rain 45 % (typical for the season, not a forecast)
  09:30-12:00  Musée d'Orsay, Saint-Germain, €32
  14:00-16:00  Eiffel Tower, Champ de Mars, €58
  19:00-20:45  Dinner at Chez Mirabelle, Marais (French), €90
Sun 29 Nov 2026: 6 to 11 °C, rain 45 % (typical for the season, not a forecast)
  09:30-10:30  Notre-Dame Cathedral, Île de la Cité, free
  16:20-16:30  Flight MSA771, Paris to London, €138
Total: €796 (flights €270, hotel €238, sights €134, meals €154)
Also possible: Sainte-Chapelle, Île de la Cité; Montmartre and Sacré-Cœur, Montmartre; Dinner at Trattoria Basilico Blu, Montmartre (Italian)
Times and prices: sample data."""  # noqa: E501


async def test_prices_are_for_all_who_travel() -> None:
    one, two = await planned(await weekend()), await planned(await weekend(people="2"))

    assert two.total.flights_eur == 2 * one.total.flights_eur
    assert two.total.meals_eur == 2 * one.total.meals_eur
    assert two.total.hotel_eur == one.total.hotel_eur


async def test_a_repeated_visit_gives_way_to_the_next() -> None:
    inputs = await weekend()
    said = best(asked(inputs)) | {"2026-11-28": {"morning": "S1", "afternoon": "S1", "evening": "R1"}}

    journey = await planned(inputs, said | {"2026-11-27": {"afternoon": None, "evening": "R1"}, "2026-11-29": {}})

    assert journey.changes == (
        "Louvre Museum is planned already on 2026-11-28 in the afternoon: Musée d'Orsay instead",
        "Le Bouillon des Quais is planned already on 2026-11-28 in the evening: Chez Mirabelle instead",
    )
    assert check(journey, inputs) == []


async def test_a_visit_the_chosen_flight_leaves_no_time_for_gives_way() -> None:
    inputs = await weekend()
    late = {"outbound": "O3", "back": "B1", "hotel": "H1"}

    journey = await planned(
        inputs, late | {"2026-11-27": {"afternoon": "S1", "evening": None}, "2026-11-29": {"morning": "S1"}}
    )

    assert journey.changes == (
        "Louvre Museum does not fit on 2026-11-27 in the afternoon: left free",
        "Louvre Museum does not fit on 2026-11-29 in the morning: left free",
    )
    assert check(journey, inputs) == []


async def test_a_flight_back_before_the_landing_gives_way() -> None:
    inputs = await weekend(nights="2")
    same_day = await found("flights", origin="London", destination="Paris", depart="2026-11-27", back="2026-11-27")
    request = asked({"flights": same_day, "guide": inputs["guide"]})

    journey = await planned(request.inputs, {"outbound": "O1", "back": "B1"})

    assert any("has landed" in change for change in journey.changes)
    assert check(journey, request.inputs) == []


async def test_an_id_nobody_offered_is_refused() -> None:
    with pytest.raises(InvalidValue) as raised:
        await planned(await weekend(), {"hotel": "H9"})

    assert str(raised.value) == "'H9' is not a choice of hotel: choose one of H1, H2, H3."


async def test_what_failed_is_missing_with_its_reason() -> None:
    reason = "'Atlantis' is not a city: not in the catalogue of 24 cities (sample data)."
    failed = Finding(state=State.FAILED, specialist="flights", reason=reason)
    unsaid = Finding(state=State.INPUT_REQUIRED, specialist="hotels", missing=("check_in",))
    inputs = (await weekend()) | {"flights": failed, "hotels": unsaid}

    journey = await planned(inputs)

    assert journey.missing == (f"No flights: {reason}", "No hotels: not said: check_in.")
    assert f"Missing: No flights: {reason}" in str(journey)
    assert journey.hotel is None
    assert journey.entries
    assert check(journey, inputs) == []


async def test_an_answer_in_words_is_no_listing() -> None:
    inputs = (await weekend()) | {"guide": Finding(state=State.OK, specialist="large", text="See the Louvre.")}

    assert (await planned(inputs)).missing == ("No sights: the answer was in words only.",)


async def test_if_all_failed_so_does_the_secretary() -> None:
    inputs = {
        "flights": Finding(state=State.FAILED, specialist="flights", reason="no seats."),
        "guide": Finding(state=State.EXPIRED, specialist="guide"),
    }

    assert Itinerary().offer(asked(inputs)).schema["properties"] == {}
    with pytest.raises(ToolFailed) as raised:
        await planned(inputs, {})

    assert str(raised.value) == "itinerary: nothing to plan with. No flights: no seats. No sights: the time was up."


async def test_alone_the_secretary_says_that_nobody_was_asked() -> None:
    with pytest.raises(ToolFailed, match="no specialist was asked before"):
        await planned({}, {})


async def test_sights_without_a_day_are_only_possible() -> None:
    journey = await planned({"guide": await found("guide", city="Paris")})

    assert journey.days == ()
    assert len(journey.left_out) == 6
    assert journey.total.total_eur == 0


async def test_a_long_stay_is_planned_for_five_days() -> None:
    inputs = await weekend(nights="9", city="Rome")
    journey = await planned(inputs)

    assert "visits are planned for the first 5 days; the others are free" in journey.notes
    assert len(journey.days) == 10
    assert check(journey, inputs) == []


async def test_a_hotel_before_the_landing_is_noted() -> None:
    journey = await planned(await weekend(origin="Los Angeles"))

    assert any("lands on Sat 28 Nov 2026, the hotel is from Fri 27 Nov 2026" in note for note in journey.notes)


async def test_specialists_who_disagree_are_noted() -> None:
    inputs = await weekend()
    inputs["hotels"] = await found("hotels", city="Lyon", check_in="2026-11-28")

    notes = (await planned(inputs)).notes

    assert notes == (
        "the hotel was searched for Sat 28 Nov 2026 to Sun 29 Nov 2026,"
        " the flights for Fri 27 Nov 2026 to Sun 29 Nov 2026",
        "the specialists looked at different cities: Lyon, Paris",
    )


@pytest.mark.parametrize("city", City.all())
async def test_the_teachers_choice_obeys_the_schema_and_needs_no_change(city: City) -> None:
    origin = "London" if city != "London" else "Paris"
    for day, nights in (("2026-11-27", "2"), ("2026-12-07", "3")):
        inputs = await weekend(origin=origin, city=city, day=day, nights=nights)
        schema, said = Itinerary().offer(asked(inputs)).schema, best(asked(inputs))

        journey = await planned(inputs, said)

        assert list(said) == list(schema["properties"])
        assert obeys(said, schema)
        assert journey.changes == ()
        assert check(journey, inputs) == []
        assert len(journey.entries) >= 4


def obeys(value: Any, schema: Mapping[str, Any]) -> bool:
    if "enum" in schema:
        return value in schema["enum"]
    return list(value) == schema["required"] and all(
        obeys(value[key], part) for key, part in schema["properties"].items()
    )


@pytest.fixture(scope="module")
def inputs() -> dict[str, Finding]:
    return asyncio.run(weekend())


def spoilt(journey: Journey, index: int, **changes: Any) -> Journey:
    """The journey with one entry changed, its total as it was."""
    days = []
    for day in journey.days:
        entries = tuple(
            msgspec.structs.replace(entry, **changes) if entry == journey.entries[index] else entry
            for entry in day.entries
        )
        days.append(msgspec.structs.replace(day, entries=entries))
    return msgspec.structs.replace(journey, days=tuple(days))


async def test_a_made_up_id_is_found(inputs: dict[str, Finding]) -> None:
    journey = await planned(inputs)

    assert check(spoilt(journey, 1, id="sight-atlantis-1"), inputs) == [
        "sight-atlantis-1 was returned by no specialist"
    ]


async def test_a_made_up_price_is_found_twice(inputs: dict[str, Finding]) -> None:
    faults = check(spoilt(await planned(inputs), 1, price_eur=1.0), inputs)

    assert faults[0] == "sight-paris-1 costs €22, not €1"
    assert "is not the sum of its parts" in faults[1]


async def test_a_visit_on_a_closed_day_is_found(inputs: dict[str, Finding]) -> None:
    entry = (await planned(inputs)).entries[1]
    later = dt.timedelta(days=4)  # Friday to Tuesday

    faults = check(spoilt(await planned(inputs), 1, start=entry.start + later, end=entry.end + later), inputs)

    assert faults == ["sight-paris-1 is closed on Tue 1 Dec 2026"]


async def test_a_visit_after_hours_is_found(inputs: dict[str, Finding]) -> None:
    entry = (await planned(inputs)).entries[1]
    times = {"start": entry.start.replace(hour=20, minute=50), "end": entry.end.replace(hour=23, minute=0)}

    assert "sight-paris-1 is not open from 20:50 to 23:00" in check(spoilt(await planned(inputs), 1, **times), inputs)


async def test_an_overlap_is_found(inputs: dict[str, Finding]) -> None:
    journey = await planned(inputs)
    start = journey.entries[0].end - dt.timedelta(minutes=5)

    assert any("overlap" in fault for fault in check(spoilt(journey, 1, start=start), inputs))


async def test_a_flight_at_another_time_is_found(inputs: dict[str, Finding]) -> None:
    journey = await planned(inputs)
    flight = journey.entries[0]

    assert check(spoilt(journey, 0, start=flight.start - dt.timedelta(hours=1)), inputs) == [
        f"{flight.id} flies at other times"
    ]


async def test_another_hotel_price_is_found(inputs: dict[str, Finding]) -> None:
    journey = await planned(inputs)
    assert journey.hotel is not None

    cheap = msgspec.structs.replace(journey, hotel=msgspec.structs.replace(journey.hotel, price_eur=1.0))

    assert check(cheap, inputs)[0] == f"{journey.hotel.id} costs €238, not €1"
