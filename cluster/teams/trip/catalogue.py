"""The sample provider: facts this project wrote itself, the same answer to the same question on every machine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import msgspec

from .places import City, Place
from .provider import Flight, Hotel, Restaurant, Sight, Weather
from .records import read
from .timetable import departures, draw


class Normals(msgspec.Struct, frozen=True, kw_only=True):
    """A city's typical weather, January first."""

    id: str
    city: str
    min_c: tuple[int, ...]
    max_c: tuple[int, ...]
    rain: tuple[int, ...]


class Catalogue:
    """Travel, from the files in `data/` and a timetable by rule."""

    def __init__(self) -> None:
        self._hotels = read("hotels", Hotel)
        self._sights = read("sights", Sight)
        self._restaurants = read("restaurants", Restaurant)
        self._normals = {normals.city: normals for normals in read("weather", Normals)}

    async def city(self, name: str) -> Place | None:
        """Where a city is, by its English name."""
        return City(name).place if name in City.all() else None

    async def flights(self, origin: City, destination: City, day: dt.date) -> Sequence[Flight]:
        """Departures of a day."""
        return departures(origin.place, destination.place, day)

    async def hotels(self, city: City, check_in: dt.date, nights: int) -> Sequence[Hotel]:
        """Hotels with rooms free on every night; about one week in seven a hotel is full."""
        stay = [check_in + dt.timedelta(days=night) for night in range(nights)]
        return [
            msgspec.structs.replace(hotel, rooms_free=min(_rooms_free(hotel, night) for night in stay))
            for hotel in self._hotels
            if hotel.city == city
        ]

    async def sights(self, city: City) -> Sequence[Sight]:
        """Sights, those that matter most first."""
        return [sight for sight in self._sights if sight.city == city]

    async def restaurants(self, city: City) -> Sequence[Restaurant]:
        """Restaurants."""
        return [restaurant for restaurant in self._restaurants if restaurant.city == city]

    async def weather(self, city: City, day: dt.date) -> Weather:
        """What is typical for the month."""
        normals, month = self._normals[city], day.month - 1
        return Weather(
            id=f"{normals.id}-{day}",
            city=str(city),
            day=day,
            min_c=normals.min_c[month],
            max_c=normals.max_c[month],
            rain=normals.rain[month],
            basis="typical for the season, not a forecast",
        )


def _rooms_free(hotel: Hotel, night: dt.date) -> int:
    if draw(7, hotel.id, *night.isocalendar()[:2]) == 0:
        return 0
    return 1 + draw(hotel.rooms, hotel.id, night, "rooms")
