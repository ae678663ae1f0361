"""The sample catalogue keeps what it promises."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from metier.actors.tools.base import Request
from metier.cluster.teams.trip import records
from metier.cluster.teams.trip.catalogue import Catalogue
from metier.cluster.teams.trip.places import City, distance_km
from metier.cluster.teams.trip.provider import WEEKDAYS, Hotel, Restaurant, Sight, Travel
from metier.cluster.teams.trip.words import tag_of
from metier.topics.errors import InvalidValue

FRIDAY = dt.date(2026, 11, 27)
REQUEST = Request(text="", today=dt.date(2026, 11, 23))
CITIES = City.all()
PROMISED = {
    "Paris", "London", "Lyon", "New York", "San Francisco", "Los Angeles", "Rome", "Barcelona", "Madrid", "Berlin",
    "Amsterdam", "Lisbon", "Vienna", "Prague", "Marseille", "Nice", "Brussels", "Geneva", "Milan", "Dublin", "Tokyo",
    "Chicago", "Boston", "Athens",
}  # fmt: skip


@pytest.fixture(scope="module")
def travel() -> Travel:
    return Catalogue()


def test_the_promised_cities_are_there() -> None:
    assert set(CITIES) >= PROMISED


@pytest.mark.parametrize("city", CITIES)
def test_a_city_has_a_zone_and_an_airport(city: City) -> None:
    assert ZoneInfo(city.place.time_zone) == city.zone
    assert len(city.place.airport) == 3


@pytest.mark.parametrize("city", CITIES)
async def test_a_city_has_hotels_sights_and_restaurants(city: City, travel: Travel) -> None:
    hotels = await travel.hotels(city, FRIDAY, 2)
    sights = await travel.sights(city)
    restaurants = await travel.restaurants(city)

    assert len(hotels) >= 6
    assert len(sights) >= 8
    assert len(restaurants) >= 6
    assert {hotel.stars for hotel in hotels} >= {2, 3, 4, 5}


@pytest.mark.parametrize("city", CITIES)
async def test_a_city_offers_something_every_evening(city: City, travel: Travel) -> None:
    sights = [sight for sight in await travel.sights(city) if sight.closes >= dt.time(21)]
    restaurants = await travel.restaurants(city)

    assert len(sights) >= 2
    for weekday in WEEKDAYS:
        assert sum(weekday not in restaurant.closed for restaurant in restaurants) >= 3


@pytest.mark.parametrize("city", CITIES)
async def test_the_weather_is_called_typical(city: City, travel: Travel) -> None:
    weather = await travel.weather(city, FRIDAY)

    assert weather.basis == "typical for the season, not a forecast"
    assert weather.min_c < weather.max_c
    assert 0 <= weather.rain <= 100


async def test_every_record_has_its_own_id_and_names_its_source(travel: Travel) -> None:
    found: list[Hotel | Sight | Restaurant] = []
    for city in CITIES:
        found += [
            *await travel.hotels(city, FRIDAY, 1), *await travel.sights(city), *await travel.restaurants(city)
        ]  # fmt: skip

    assert len({record.id for record in found}) == len(found)
    assert {record.source for record in found} == {"sample data"}


@pytest.mark.parametrize("name", ["cities", "sights", "hotels", "restaurants", "weather"])
def test_every_file_says_that_it_is_sample_data(name: str) -> None:
    assert records.note(name).startswith("Sample data written for Metier")


@pytest.mark.parametrize(
    ("name", "closed"), [("Louvre Museum", ("tue",)), ("Musée d'Orsay", ("mon",)), ("Prado Museum", ())]
)
async def test_closed_days_are_the_true_ones(name: str, closed: tuple[str, ...], travel: Travel) -> None:
    known = {sight.name: sight for city in CITIES for sight in await travel.sights(city)}

    assert known[name].closed == closed


async def test_flights_fly_between_any_two_cities_on_any_day(travel: Travel) -> None:
    for origin in CITIES:
        for destination in (city for city in CITIES if city != origin):
            flights = await travel.flights(origin, destination, FRIDAY + dt.timedelta(days=len(destination)))
            assert 3 <= len(flights) <= 6
            assert all(flight.minutes >= 30 and flight.price_eur > 20 for flight in flights)
            assert len({flight.id for flight in flights}) == len(flights)


async def test_the_same_question_has_the_same_answer() -> None:
    paris, london = City("Paris"), City("London")
    one, other = Catalogue(), Catalogue()

    assert await one.flights(london, paris, FRIDAY) == await other.flights(london, paris, FRIDAY)
    assert await one.hotels(paris, FRIDAY, 2) == await other.hotels(paris, FRIDAY, 2)


async def test_the_timetable_does_not_depend_on_the_machine(travel: Travel) -> None:
    flights = await travel.flights(City("London"), City("Paris"), FRIDAY)

    assert str(flights[0]) == "MSA223 07:15-09:25 €79"


async def test_flight_times_are_local_to_each_end(travel: Travel) -> None:
    flight = (await travel.flights(City("Paris"), City("New York"), FRIDAY))[0]

    assert flight.departs.utcoffset() == dt.timedelta(hours=1)
    assert flight.arrives.utcoffset() == dt.timedelta(hours=-5)
    assert flight.arrives - flight.departs == dt.timedelta(minutes=flight.minutes)


async def test_a_stay_has_no_more_rooms_than_its_fullest_night(travel: Travel) -> None:
    paris = City("Paris")
    nights = [await travel.hotels(paris, FRIDAY + dt.timedelta(days=night), 1) for night in range(3)]
    stay = await travel.hotels(paris, FRIDAY, 3)

    for number, hotel in enumerate(stay):
        assert hotel.rooms_free == min(night[number].rooms_free for night in nights)


def test_distances_are_great_circles() -> None:
    assert distance_km(City("Paris").place, City("New York").place) == pytest.approx(5837, rel=0.01)


@pytest.mark.parametrize(
    ("said", "city"),
    [
        ("paris", "Paris"),
        ("PARIS", "Paris"),
        ("à Paris", "Paris"),
        ("from London", "London"),
        ("Londres", "London"),
        ("NYC", "New York"),
        ("new-york", "New York"),
        ("la Grosse Pomme", "New York"),
        ("Genève", "Geneva"),
        ("geneve", "Geneva"),
        ("LA", "Los Angeles"),
        ("L.A.", "Los Angeles"),
        ("CDG", "Paris"),
        ("Rome, Italy", "Rome"),
        ("Paris (France)", "Paris"),
        ("London UK", "London"),
        ("the city of Prague", "Prague"),
        ("Athènes", "Athens"),
    ],
)
def test_a_city_is_understood_as_people_name_it(said: str, city: str) -> None:
    assert City.understand(said, REQUEST) == city


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("Atlantis", "'Atlantis' is not a city: not in the catalogue of 24 cities (sample data)."),
        ("Pariss", "'Pariss' is not a city: not in the catalogue of 24 cities (sample data); nearest: Paris."),
    ],
)
def test_an_unknown_city_is_refused_with_what_is_near(said: str, message: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        City.understand(said, REQUEST)

    assert message == str(raised.value)


@pytest.mark.parametrize(
    ("kind", "said", "tag"),
    [
        ("theme", "musées", "museum"),
        ("theme", "les beaux-arts", "art"),
        ("theme", "jardins", "park"),
        ("theme", "romantic", None),
        ("cuisine", "italien", "Italian"),
        ("cuisine", "sushi", "Japanese"),
        ("cuisine", "végétarien", "vegetarian"),
    ],
)
def test_french_and_english_words_name_tags(kind: str, said: str, tag: str | None) -> None:
    assert tag_of("theme" if kind == "theme" else "cuisine", said) == tag


async def test_every_theme_and_cuisine_can_be_named(travel: Travel) -> None:
    themes = {theme for city in CITIES for sight in await travel.sights(city) for theme in sight.themes}
    cuisines = {restaurant.cuisine for city in CITIES for restaurant in await travel.restaurants(city)}

    assert {theme: tag_of("theme", theme) for theme in themes} == {theme: theme for theme in themes}
    assert {name: tag_of("cuisine", name) for name in cuisines} == {name: name for name in cuisines}
