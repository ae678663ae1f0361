"""What the secretary learns: trips somebody might make, what the others would find for them, and the teacher's choice.

python -m metier.actors.learning.adapter --lessons metier.cluster.teams.trip.lessons:secretary ...
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
from collections.abc import Mapping

import msgspec

from metier.actors.learning.lessons import Lesson
from metier.actors.prompts import call_prompt, call_text
from metier.actors.tools.base import Request
from metier.actors.tools.values import Money, Nights
from metier.topics.errors import ToolFailed
from metier.topics.messages import Finding, State

from .catalogue import Catalogue
from .itinerary import Itinerary
from .places import City
from .teacher import best
from .tools import find_flights, find_hotels, find_restaurants, find_sights

_FIRST = dt.date(2026, 12, 1)
_TEXTS = (
    "Plan {nights} nights in {city}, leaving from {origin} on {day}",
    "Plan a trip to {city} from {origin} on {day}",
    "Plan a weekend in {city}, from {origin}",
    "Plan a weekend in {city}",
    "I want to go to {city} for {nights} days from {day}, organise everything",
    "Make me an itinerary for {city}, {day}",
    "Planifie un week-end à {city} au départ de {origin}",
    "Organise un voyage à {city} pour {nights} nuits",
    "Planifie {nights} jours à {city}, départ le {day}",
    "Prépare un séjour à {city} depuis {origin}",
)


def secretary(count: int, seed: int) -> list[Lesson]:
    """Lessons for the itinerary tool. The same seed makes the same lessons."""
    return asyncio.run(_lessons(count, random.Random(f"{seed}/secretary")))


async def _lessons(count: int, rng: random.Random) -> list[Lesson]:
    made: list[Lesson] = []
    catalogue, tool = Catalogue(), Itinerary()
    while len(made) < count:
        request = await trip(catalogue, rng)
        offer = tool.offer(request)
        if not offer.schema["properties"]:
            continue
        prompt = call_prompt([offer], request, None)
        made.append(Lesson("secretary", prompt.turns, call_text([offer], (offer.name, best(request)))))
    return made


async def trip(catalogue: Catalogue, rng: random.Random) -> Request:
    """A request with the findings of the other specialists; now and then one of them found nothing."""
    origin, city = rng.sample(City.all(), 2)
    day = _FIRST + dt.timedelta(days=rng.randrange(360))
    nights = Nights(rng.choice((1, 2, 2, 2, 2, 3, 3, 4)))
    text = rng.choice(_TEXTS).format(nights=int(nights), city=city, origin=origin, day=day)
    request = Request(text=text, today=day - dt.timedelta(days=7))
    people = rng.choice((None, None, 2, 3, 4))
    price = Money(rng.choice((90, 120, 150, 250))) if rng.random() < 0.2 else None
    asks = {
        "flights": find_flights(origin, city, day, nights=nights, travellers=people, travel=catalogue, request=request),
        "hotels": find_hotels(
            city, day, nights=nights, guests=people, max_price=price, travel=catalogue, request=request
        ),
        "guide": find_sights(city, day, nights, travel=catalogue, request=request),
        "restaurants": find_restaurants(city, day, travel=catalogue, request=request),
    }
    left_out = {name for name, share in _LEFT_OUT.items() if rng.random() < share}
    inputs: dict[str, Finding] = {}
    for name, ask in asks.items():
        if name in left_out:
            ask.close()
            continue
        try:
            inputs[name] = _finding(name, await ask)
        except ToolFailed as error:
            inputs[name] = Finding(state=State.FAILED, specialist=name, reason=str(error))
    return msgspec.structs.replace(request, inputs=inputs)


#: How often a specialist is not asked at all.
_LEFT_OUT: Mapping[str, float] = {"flights": 0.1, "hotels": 0.05, "guide": 0.03, "restaurants": 0.6}


def _finding(name: str, listing: msgspec.Struct) -> Finding:
    return Finding(state=State.OK, specialist=name, text=str(listing), data=msgspec.to_builtins(listing))
