"""The trip team's tools, called as a specialist calls them: with words."""

import asyncio
import datetime as dt
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import icalendar
import pytest

from metier.actors.tools.base import Missing, Outcome, Request
from metier.actors.tools.function import FunctionTool
from metier.cluster.teams.trip import listings, tools
from metier.cluster.teams.trip.calendar import Calendar, Event
from metier.cluster.teams.trip.catalogue import Catalogue
from metier.cluster.teams.trip.listings import Flights, Forecast, Hotels, Restaurants, Sights
from metier.cluster.teams.trip.places import City
from metier.topics.errors import InvalidValue, ToolFailed
from metier.topics.messages import Context

MONDAY = dt.date(2026, 11, 23)
FRIDAY = dt.date(2026, 11, 27)
SUNDAY = dt.date(2026, 11, 29)
TRAVEL = Catalogue()


def request(home: str | None = "London", today: dt.date = MONDAY) -> Request:
    return Request(text="", today=today, id="task-1.1.n", context=Context(time_zone="Europe/Paris", home=home))


async def call(function: Callable[..., Any], home: str | None = "London", **said: str | None) -> Outcome:
    return await FunctionTool(function, {"travel": TRAVEL}).call(said, request(home))


async def listed(function: Callable[..., Any], **said: str | None) -> Any:
    outcome = await call(function, **said)
    listing = listings.decode(outcome.data)
    assert str(listing) == outcome.text
    return listing


async def fault(function: Callable[..., Any], home: str | None = "London", **said: str | None) -> str:
    with pytest.raises(ToolFailed) as raised:
        await call(function, home, **said)
    return str(raised.value)


@pytest.mark.parametrize(
    ("function", "brief"),
    [
        (tools.find_flights, "find_flights(origin?, destination, depart, back?, nights?, travellers?)"),
        (tools.find_hotels, "find_hotels(city, check_in, check_out?, nights?, guests?, max_price?)"),
        (tools.find_sights, "find_sights(city, day?, nights?, theme?)"),
        (tools.find_restaurants, "find_restaurants(city, day?, cuisine?, max_price?)"),
        (tools.forecast, "forecast(city, day?, nights?)"),
        (tools.add_event, "add_event(title, day, start, duration?, place?)"),
    ],
)
def test_a_model_reads_the_arguments_it_was_trained_on(
    function: Callable[..., Any], brief: str, tmp_path: Path
) -> None:
    tool = FunctionTool(function, {"travel": TRAVEL, "calendar": Calendar(str(tmp_path / "c.ics"))})

    assert tool.offer(request()).brief == brief


async def test_flights_for_a_weekend_come_back_two_days_later() -> None:
    found = await listed(tools.find_flights, origin="NYC", destination="Paris", depart="Friday", nights="a weekend")

    assert isinstance(found, Flights)
    assert (found.origin, found.destination) == ("New York", "Paris")
    assert (found.depart, found.back) == (FRIDAY, SUNDAY)
    assert 3 <= len(found.outbound) <= 5
    assert {flight.departs.date() for flight in found.inbound} == {SUNDAY}
    assert list(found.outbound) == sorted(found.outbound, key=lambda flight: flight.departs)


async def test_a_day_to_come_back_goes_before_nights() -> None:
    found = await listed(
        tools.find_flights, destination="Paris", depart="Friday", back="2026-12-01", nights="a weekend"
    )

    assert found.back == dt.date(2026, 12, 1)


async def test_one_way_flights_have_no_way_back() -> None:
    found = await listed(tools.find_flights, destination="Paris", depart="Friday")

    assert found.back is None
    assert found.inbound == ()


async def test_a_journey_starts_at_home_unless_said_otherwise() -> None:
    assert (await listed(tools.find_flights, destination="Paris", depart="Friday")).origin == "London"


async def test_without_a_home_the_origin_is_asked_for() -> None:
    with pytest.raises(Missing) as raised:
        await call(tools.find_flights, None, destination="Paris", depart="Friday")

    assert raised.value.names == ("origin",)


async def test_arguments_are_shown_as_they_were_understood() -> None:
    outcome = await call(tools.find_flights, origin="Londres", destination="Paris", depart="Friday", nights="2 nights")

    assert outcome.arguments == {"origin": "London", "destination": "Paris", "depart": "2026-11-27", "nights": 2}


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"destination": "London", "depart": "Friday"},
            "find_flights: the journey starts and ends in London.",
        ),
        (
            {"destination": "Paris", "depart": "2026-11-20"},
            "find_flights: Fri 20 Nov 2026 is past: today is Mon 23 Nov 2026.",
        ),
        (
            {"destination": "Paris", "depart": "2030-11-20"},
            "find_flights: Wed 20 Nov 2030 is more than two years away.",
        ),
        (
            {"destination": "Paris", "depart": "2026-11-27", "back": "2026-11-25"},
            "find_flights: the way back, Wed 25 Nov 2026, is before the departure, Fri 27 Nov 2026.",
        ),
        (
            {"destination": "Paris", "depart": "Friday", "travellers": "50"},
            "find_flights: 50 travellers: from 1 to 20 are possible.",
        ),
    ],
)
async def test_an_impossible_flight_says_why(said: dict[str, str], message: str) -> None:
    assert message == await fault(tools.find_flights, **said)


async def test_a_city_outside_the_catalogue_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"'Atlantis' is not a city: not in the catalogue of 24 cities"):
        await call(tools.find_flights, destination="Atlantis", depart="Friday")


async def test_hotels_have_rooms_for_all_guests_and_cost_all_nights() -> None:
    found = await listed(tools.find_hotels, city="Paris", check_in="Friday", nights="a weekend", guests="3 people")

    assert isinstance(found, Hotels)
    assert (found.nights, found.rooms, found.guests) == (2, 2, 3)
    assert all(hotel.rooms_free >= 2 for hotel in found.options)
    assert found.price(found.options[0]) == found.options[0].price_eur * 4
    assert list(found.options) == sorted(found.options, key=listings.value)


async def test_a_stay_is_one_night_unless_said_otherwise() -> None:
    assert (await listed(tools.find_hotels, city="Lyon", check_in="Friday")).check_out == FRIDAY + dt.timedelta(days=1)


async def test_no_room_is_dearer_than_asked() -> None:
    found = await listed(tools.find_hotels, city="Paris", check_in="Friday", max_price="under 150 euros")

    assert max(hotel.price_eur for hotel in found.options) <= 150


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"check_in": "2026-11-27", "check_out": "2026-11-27"},
            "find_hotels: check-out, Fri 27 Nov 2026, is not after check-in, Fri 27 Nov 2026.",
        ),
        ({"check_in": "2026-11-20"}, "find_hotels: Fri 20 Nov 2026 is past: today is Mon 23 Nov 2026."),
        (
            {"check_in": "Friday", "nights": "2", "max_price": "20 euros"},
            "find_hotels: no room in Paris, Fri 27 Nov 2026 to Sun 29 Nov 2026 for €20 a night or less;"
            " the cheapest is Auberge de la Butte at €88.",
        ),
        (
            {"check_in": "Friday", "nights": "300"},
            "find_hotels: no hotel in Paris, Fri 27 Nov 2026 to Thu 23 Sep 2027 has 1 room free on every night.",
        ),
        ({"check_in": "Friday", "guests": "0"}, "find_hotels: 0 guests: from 1 to 20 are possible."),
    ],
)
async def test_an_impossible_stay_says_why(said: dict[str, str], message: str) -> None:
    assert message == await fault(tools.find_hotels, city="Paris", **said)


async def test_sights_closed_on_the_day_are_not_listed() -> None:
    tuesday = await listed(tools.find_sights, city="Paris", day="2026-11-24")
    friday = await listed(tools.find_sights, city="Paris", day="2026-11-27")

    assert "Louvre Museum" not in {sight.name for sight in tuesday.options}
    assert "Louvre Museum" in {sight.name for sight in friday.options}
    assert all(sight.open_on(dt.date(2026, 11, 24)) for sight in tuesday.options)


async def test_a_french_theme_chooses_its_sights() -> None:
    found = await listed(tools.find_sights, city="Paris", theme="musées")

    assert isinstance(found, Sights)
    assert {sight.name for sight in found.options} >= {"Louvre Museum", "Musée d'Orsay"}
    assert all("museum" in sight.themes for sight in found.options)


async def test_an_unknown_theme_shows_the_main_sights_and_says_so() -> None:
    found = await listed(tools.find_sights, city="Paris", theme="romantic")

    assert found.note == "No sight is listed under 'romantic': these are the main ones."
    assert len(found.options) == 8


async def test_a_theme_closed_all_day_says_so() -> None:
    message = await fault(tools.find_sights, city="Nice", day="2026-11-24", theme="musées")

    assert message == "find_sights: nothing of 'musées' in Nice is open, Tue 24 Nov 2026."


async def test_sights_of_a_past_day_are_refused() -> None:
    message = await fault(tools.find_sights, city="Nice", day="2026-11-20")

    assert message == "find_sights: Fri 20 Nov 2026 is past: today is Mon 23 Nov 2026."


async def test_restaurants_are_open_of_the_cuisine_and_within_the_price() -> None:
    found = await listed(tools.find_restaurants, city="Paris", day="Saturday", cuisine="français", max_price="50 euros")

    assert isinstance(found, Restaurants)
    assert {option.cuisine for option in found.options} == {"French"}
    assert max(option.price_eur for option in found.options) <= 50
    assert all(option.open_on(dt.date(2026, 11, 28)) for option in found.options)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            {"city": "Lyon", "cuisine": "coréen"},
            "find_restaurants: no Korean restaurant in Lyon; there are: French, Italian, Japanese, vegetarian.",
        ),
        (
            {"city": "Paris", "cuisine": "italien", "day": "2026-11-24"},
            "find_restaurants: no Italian restaurant in Paris is open on Tue 24 Nov 2026.",
        ),
        (
            {"city": "Lyon", "max_price": "5 euros"},
            "find_restaurants: no restaurant in Lyon for €5 a person or less;"
            " the cheapest is Ramen Rive Gauche at €21.",
        ),
        (
            {"city": "Lyon", "day": "2026-11-20"},
            "find_restaurants: Fri 20 Nov 2026 is past: today is Mon 23 Nov 2026.",
        ),
    ],
)
async def test_an_impossible_dinner_says_why(said: dict[str, str], message: str) -> None:
    assert message == await fault(tools.find_restaurants, **said)


async def test_a_forecast_covers_each_day_and_says_it_is_typical() -> None:
    found = await listed(tools.forecast, city="Paris", day="Friday", nights="a weekend")

    assert isinstance(found, Forecast)
    assert [day.day for day in found.days] == [FRIDAY, FRIDAY + dt.timedelta(days=1), SUNDAY]
    assert str(found) == (
        "Weather in Paris, Fri 27 Nov 2026 to Sun 29 Nov 2026:"
        " 6 to 11 °C, rain 45 % (typical for the season, not a forecast)"
    )


async def test_a_long_forecast_says_where_it_ends() -> None:
    found = await listed(tools.forecast, city="Paris", day="Friday", nights="20 nights")

    assert len(found.days) == 14
    assert str(found).endswith("The first 14 days only.")


async def test_a_forecast_is_for_today_unless_said_otherwise() -> None:
    assert [day.day for day in (await listed(tools.forecast, city="Paris")).days] == [MONDAY]


async def test_yesterdays_weather_is_refused() -> None:
    message = await fault(tools.forecast, city="Paris", day="2026-11-22")

    assert message == "forecast: Sun 22 Nov 2026 is past: today is Mon 23 Nov 2026."


async def add(calendar: Calendar, asked: Request | None = None, **said: str | None) -> Outcome:
    return await FunctionTool(tools.add_event, {"calendar": calendar}).call(said, asked or request())


async def test_an_event_is_written_in_the_askers_time_zone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "calendar.ics"

    outcome = await add(Calendar(str(path)), title="meeting with Anna", day="Tuesday", start="three", place="Café")

    assert outcome.text == "In the calendar: Meeting with Anna, Tue 24 Nov 2026, 15:00-16:00, Café"
    (event,) = icalendar.Calendar.from_ical(path.read_bytes()).events
    assert event.start == dt.datetime(2026, 11, 24, 14, tzinfo=dt.UTC)
    assert event.end == dt.datetime(2026, 11, 24, 15, tzinfo=dt.UTC)
    assert str(event["SUMMARY"]) == "Meeting with Anna"
    assert event["DTSTART"].params["TZID"] == "Europe/Paris"


async def test_the_same_request_writes_one_event(tmp_path: Path) -> None:
    calendar = Calendar(str(tmp_path / "calendar.ics"))

    first = await add(calendar, title="meeting", day="Tuesday", start="15:00", duration="30 minutes")
    second = await add(calendar, title="meeting", day="Tuesday", start="15:00", duration="30 minutes")

    assert first == second
    assert len(await calendar.events()) == 1


async def test_events_written_at_once_are_all_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "calendar.ics")
    times = [dt.datetime(2026, 11, 24, hour, tzinfo=dt.UTC) for hour in range(13)]
    events = [
        Event(id=f"{number}@test", title="Event", starts=starts, ends=ends)
        for number, (starts, ends) in enumerate(pairwise(times))
    ]

    await asyncio.gather(*(Calendar(path).add(event) for event in events))

    assert [event.id for event in await Calendar(path).events()] == [event.id for event in events]


async def test_what_others_wrote_stays(tmp_path: Path) -> None:
    path = tmp_path / "calendar.ics"
    other = icalendar.Calendar.new(prodid="-//Another program//EN")
    other.add_component(
        icalendar.Event.new(uid="theirs", summary="Holiday", start=dt.date(2026, 12, 24), stamp=dt.datetime.now(dt.UTC))
    )
    path.write_bytes(other.to_ical())

    await add(Calendar(str(path)), title="meeting", day="Tuesday", start="15:00")

    found = icalendar.Calendar.from_ical(path.read_bytes())
    assert {str(event["SUMMARY"]) for event in found.events} == {"Holiday", "Meeting"}
    assert names(tmp_path) == {"calendar.ics", "calendar.ics.lock"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_a_file_that_is_no_calendar_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "calendar.ics"
    path.write_text("not a calendar")

    with pytest.raises(ToolFailed, match=r"calendar\.ics cannot be read or written"):
        await add(Calendar(str(path)), title="meeting", day="Tuesday", start="15:00")

    assert path.read_text() == "not a calendar"


async def test_an_event_in_the_past_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"Fri 20 Nov 2026 is past: today is Mon 23 Nov 2026"):
        await add(Calendar(str(tmp_path / "c.ics")), title="meeting", day="2026-11-20", start="15:00")


async def test_a_time_the_clocks_skip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolFailed, match=r"02:30 does not exist on Sun 28 Mar 2027 in Europe/Paris"):
        await add(Calendar(str(tmp_path / "c.ics")), title="party", day="2027-03-28", start="02:30")


def test_every_city_is_an_argument() -> None:
    assert all(City.understand(city, request()) == city for city in City.all())
