"""Cities as people name them, in English and French."""

from __future__ import annotations

import difflib
import math
import re
from functools import cache
from typing import Self
from zoneinfo import ZoneInfo

import msgspec

from metier.actors.tools.base import Request
from metier.actors.tools.numerals import plain
from metier.topics.errors import InvalidValue

from .records import SOURCE, read

EARTH_RADIUS_KM = 6371.0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a city is."""

    id: str
    name: str
    country: str
    #: Degrees, north and east positive.
    latitude: float
    longitude: float
    #: IANA name.
    time_zone: str
    #: IATA code.
    airport: str
    aliases: tuple[str, ...] = ()
    source: str = SOURCE


class City(str):
    """A city of the catalogue by its English name: an argument the model copies, in any of the city's names."""

    __slots__ = ()

    @property
    def place(self) -> Place:
        """Where it is."""
        return _by_name()[str(self)]

    @property
    def zone(self) -> ZoneInfo:
        """Its time zone."""
        return ZoneInfo(self.place.time_zone)

    @classmethod
    def all(cls) -> tuple[Self, ...]:
        """Every city there is."""
        return tuple(cls(name) for name in _by_name())

    @classmethod
    def understand(cls, said: str, request: Request) -> Self:
        """The city said: accents, case, an article, a country behind it do not matter. Raises InvalidValue."""
        words = plain(said)
        for form in (words, _bare(words), _bare(plain(re.split(r"[,(]", said)[0]))):
            if name := _spellings().get(form):
                return cls(name)
        raise InvalidValue(value=said, kind="city", reason=_unknown(_bare(words)))


def distance_km(one: Place, other: Place) -> float:
    """Great-circle distance, by the haversine formula."""
    north, south = math.radians(one.latitude), math.radians(other.latitude)
    across = math.radians(other.longitude - one.longitude)
    chord = math.sin((south - north) / 2) ** 2 + math.cos(north) * math.cos(south) * math.sin(across / 2) ** 2
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(chord))


_BEFORE = re.compile(
    r"^(?:(?:leaving from|departing from|leaving|from|to|in|into|at|near|around|via|depuis|pour|vers|au depart de|a"
    r"|de|d|en|the city of|city of|la ville de|ville de|central|downtown|the|le|la|les)\s+)+"
)


def _bare(words: str) -> str:
    """Without prepositions and articles before, or a country behind."""
    words = _BEFORE.sub("", words)
    for country in _countries():
        words = words.removesuffix(f" {country}")
    return words


def _unknown(words: str) -> str:
    spellings = _spellings()
    near = [spellings[form] for form in difflib.get_close_matches(words, spellings, n=6, cutoff=0.7)]
    reason = f"not in the catalogue of {len(_by_name())} cities ({SOURCE})"
    return f"{reason}; nearest: {', '.join(list(dict.fromkeys(near))[:3])}" if near else reason


@cache
def _by_name() -> dict[str, Place]:
    return {place.name: place for place in read("cities", Place)}


@cache
def _spellings() -> dict[str, str]:
    return {
        plain(form): place.name for place in _by_name().values() for form in (*place.aliases, place.airport, place.name)
    }


@cache
def _countries() -> tuple[str, ...]:
    short = ("uk", "england", "angleterre", "royaume uni", "usa", "us", "etats unis", "italie", "espagne", "allemagne")
    return (*sorted({plain(place.country) for place in _by_name().values()}), *short)
