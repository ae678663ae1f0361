"""Flights by rule: the same day and pair of cities always give the same departures, between invented carriers."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from zoneinfo import ZoneInfo

from .places import Place, distance_km
from .provider import Flight

#: Three letters: no airline's code, those have two.
CARRIERS = (("MSA", "Metier Sample Air"), ("SMJ", "Sample Jet"), ("EXW", "Example Wings"))
SEED = "metier timetable 1"

FIRST_MINUTE, LAST_MINUTE = 6 * 60 + 10, 21 * 60 + 20
CRUISE_KM_H = 820
GROUND_MINUTES = 40
#: Monday first.
WEEKDAY_FACTORS = (1.0, 0.9, 0.9, 1.0, 1.18, 1.08, 1.2)


def draw(below: int, *parts: object) -> int:
    """A number in [0, below) that depends on the parts alone, whatever the machine and the Python."""
    text = "|".join(map(str, (SEED, *parts)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") % below


def departures(origin: Place, destination: Place, day: dt.date) -> list[Flight]:
    """Three to six flights, spread over the day, earliest first."""
    pair = (origin.id, destination.id)
    count = 3 + draw(4, *pair, day.weekday())
    step = (LAST_MINUTE - FIRST_MINUTE) // count // 5 * 5
    minutes = [FIRST_MINUTE + turn * step + 5 * draw(step // 5, *pair, day.weekday(), turn) for turn in range(count)]
    return [_flight(origin, destination, day, turn, minute) for turn, minute in enumerate(minutes)]


def _flight(origin: Place, destination: Place, day: dt.date, turn: int, minute: int) -> Flight:
    code, carrier = CARRIERS[draw(len(CARRIERS), origin.id, destination.id, turn)]
    number = f"{code}{100 + draw(800, origin.id, destination.id) + turn}"
    distance = distance_km(origin, destination)
    minutes = 5 * math.ceil((GROUND_MINUTES + distance / CRUISE_KM_H * 60) / 5)
    departs = dt.datetime.combine(day, dt.time(minute // 60, minute % 60), ZoneInfo(origin.time_zone))
    arrives = departs.astimezone(dt.UTC) + dt.timedelta(minutes=minutes)
    return Flight(
        id=f"{number}-{day}",
        number=number,
        carrier=carrier,
        origin=origin.name,
        destination=destination.name,
        departs=departs,
        arrives=arrives.astimezone(ZoneInfo(destination.time_zone)),
        minutes=minutes,
        price_eur=_price(origin, destination, day, turn, distance, minute),
    )


def _price(origin: Place, destination: Place, day: dt.date, turn: int, distance: float, minute: int) -> float:
    """Distance sets the price; weekends, rush hours and a little chance move it."""
    hour = minute // 60
    rush = 1.15 if hour in {7, 8, 17, 18} else 0.85 if hour < 7 or hour >= 20 else 1.0
    chance = 0.9 + draw(21, origin.id, destination.id, day, turn) / 100
    return float(round((42 + 0.045 * distance) * WEEKDAY_FACTORS[day.weekday()] * rush * chance))
