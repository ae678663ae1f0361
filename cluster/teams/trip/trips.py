"""How many trips the team plans right: generated wishes over the catalogue, and a check of every answer.

The whole team works on them, from the words of the request on. What a wish says is known, so the check needs no model:
city, days, travellers and price as asked; open on the day; no overlap; a total that is the sum; and no price, time or
id in the answer that no tool returned.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import random
import re
import time
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import msgspec

from metier.actors.learning import measures
from metier.actors.learning.evaluation.report import TRAINED, Row
from metier.topics.client import Client
from metier.topics.messages import Answer, Context, Finding, State

from .journey import Journey, check
from .listings import NIGHT, Listing, decode
from .places import City
from .provider import clock, euros

_log = logging.getLogger(__name__)

DATA = "generated trips"
TODAY = dt.date(2026, 11, 23)

#: A wish in words. None of them, nor their like, is among the sentences to learn from.
_TEXTS = {
    "en": (
        "Please arrange {nights} nights in {city} for {people} people. We start from {origin} on {day}.",
        "{origin} to {city}, {day}, {nights} nights, {people} travellers: work out the whole trip for us",
        "We're {people}, we live in {origin} and want to see {city} from {day}, {nights} nights. Plan it all!",
        "Could you put together a stay in {city}, leaving {origin} on {day}, {nights} nights, {people} people?",
        "Build me an itinerary: {city}, {nights} nights from {day}, {people} people, flying from {origin}.",
    ),
    "fr": (
        "Organise {nights} nuits à {city} pour {people} personnes, on part de {origin} le {day}.",
        "{origin} - {city}, le {day}, {nights} nuits, {people} voyageurs : prépare-nous tout le voyage",
        "On est {people}, on habite {origin}, on veut voir {city} à partir du {day}, {nights} nuits. Planifie tout !",
        "Pouvez-vous monter un séjour à {city}, départ de {origin} le {day}, {nights} nuits, {people} personnes ?",
        "Fais-moi un itinéraire : {city}, {nights} nuits dès le {day}, {people} personnes, en avion depuis {origin}.",
    ),
}
_MONTHS = {
    "en": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ),
    "fr": (
        "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
        "décembre",
    ),
}  # fmt: skip


_PARIS = "Plan a weekend in Paris, leaving from London on Friday"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A trip somebody asks for."""

    text: str
    origin: City
    city: City
    day: dt.date
    nights: int
    people: int


def wishes(count: int, seed: int) -> list[Wish]:
    """Half of them in French. The same seed makes the same wishes."""
    rng = random.Random(f"{seed}/trips")
    return [_wish(rng, "en" if place % 2 else "fr") for place in range(count)]


def _wish(rng: random.Random, language: str) -> Wish:
    origin, city = rng.sample(City.all(), 2)
    day = TODAY + dt.timedelta(days=rng.randint(10, 300))
    nights, people = rng.choice((2, 2, 3, 3, 4)), rng.randint(2, 4)
    month = _MONTHS[language][day.month - 1]
    text = rng.choice(_TEXTS[language]).format(
        origin=origin, city=city, day=f"{day.day} {month} {day.year}", nights=nights, people=people
    )
    return Wish(text=text, origin=origin, city=city, day=day, nights=nights, people=people)


def faults(wish: Wish, answer: Answer) -> list[str]:
    """What is wrong with an answer, as sentences."""
    journey = _journey(answer)
    if journey is None:
        return [f"no itinerary ({answer.status.value}): {', '.join(answer.missing) or answer.text[:80]}"]
    last = wish.day + wish.nights * NIGHT
    asked: dict[str, tuple[Any, Any]] = {
        "city": (journey.city, str(wish.city)),
        "travellers": (journey.people, wish.people),
        "days": ([day.date for day in journey.days], [wish.day + n * NIGHT for n in range(wish.nights + 1)]),
        "flights": (sum(entry.kind == "flight" for entry in journey.entries), 2),
        "stay": (journey.hotel and (journey.hotel.check_in, journey.hotel.check_out), (wish.day, last)),
        "visits": (any(entry.kind == "sight" for entry in journey.entries), True),
    }
    wrong = [f"{name}: {found}, not {right}" for name, (found, right) in asked.items() if found != right]
    flights = answer.results.get("flights")
    if flights and flights.call and flights.call.arguments.get("origin") != str(wish.origin):
        wrong.append(f"leaves from {flights.call.arguments.get('origin')}, not {wish.origin}")
    return wrong + check(journey, answer.results)


def ungrounded(answer: Answer) -> list[str]:
    """Sums of money and times in an itinerary's text that no tool returned, and that are no product or sum of such."""
    journey = _journey(answer)
    if journey is None:
        return []
    listings = [found for finding in answer.results.values() if (found := _listing(finding)) is not None]
    known = _sums(listings, journey) | _times(listings)
    visits = {
        clock(moment) for entry in journey.entries if entry.kind != "flight" for moment in (entry.start, entry.end)
    }
    return sorted(set(_FACT.findall(str(journey))) - known - visits)


_FACT = re.compile(r"€\d+(?:\.\d+)?|\b\d{2}:\d{2}\b")


def _sums(listings: Sequence[Listing], journey: Journey) -> set[str]:
    prices = {price for listing in listings for price in _found(msgspec.to_builtins(listing), "price_eur")}
    nights = (journey.hotel.check_out - journey.hotel.check_in).days * journey.hotel.rooms if journey.hotel else 1
    known = {euros(round(price * times, 2)) for price, times in product(prices, {1, journey.people, nights})}
    parts = msgspec.to_builtins(journey.total)
    added = journey.total.total_eur == round(sum(value for name, value in parts.items() if name != "total_eur"), 2)
    return known | ({euros(value) for value in parts.values()} if added else set())


def _times(listings: Sequence[Listing]) -> set[str]:
    built = [msgspec.to_builtins(listing) for listing in listings]
    moments = [
        moment for each in built for name in ("departs", "arrives", "opens", "closes") for moment in _found(each, name)
    ]
    return {match[0] for moment in moments for match in re.finditer(r"\d{2}:\d{2}", str(moment))}


def _found(node: Any, name: str) -> list[Any]:
    """Every value under a name, however deep."""
    if isinstance(node, Mapping):
        return [found for key, value in node.items() for found in ([value] if key == name else _found(value, name))]
    return [found for each in node for found in _found(each, name)] if isinstance(node, list | tuple) else []


def _listing(finding: Finding) -> Listing | None:
    return decode(finding.data) if finding.state is State.OK else None


def _journey(answer: Answer) -> Journey | None:
    found = answer.results.get("secretary")
    if found is None or found.state is not State.OK:
        return None
    try:
        return msgspec.convert(found.data, Journey)
    except msgspec.ValidationError:
        return None


async def rows(client: Client, count: int, seed: int) -> list[Row]:
    """The figures of `count` trips, two asked at a time; what is wrong with those that are wrong goes to the log."""
    room = asyncio.Semaphore(2)

    async def one(text: str) -> tuple[Answer, float]:
        async with room:
            began = time.perf_counter()
            answer = await client.ask(text, context=Context(date=TODAY), deadline_s=120)
            return answer, time.perf_counter() - began

    asked = wishes(count, seed)
    paris = [(await one(_PARIS))[1] for _ in range(1 + min(count, 9))][1:]
    answers = await asyncio.gather(*(one(wish.text) for wish in asked))
    wrong = [faults(wish, answer) for wish, (answer, _) in zip(asked, answers, strict=True)]
    for wish, found in zip(asked, wrong, strict=True):
        if found:
            _log.info("%s: %s", wish.text, "; ".join(found))
    made_up = [float(len(ungrounded(answer))) for answer, _ in answers]
    figures = {
        ("every check passed", 0.95, 0.99, False): measures.mean([float(not found) for found in wrong], seed=seed),
        ("ungrounded facts an itinerary", 0.0, 0.0, True): measures.mean(made_up, seed=seed),
    }
    made = [
        Row(task="team", data=DATA, arm=TRAINED, measure=measure, figure=figure, must=must, aim=aim, less=less)
        for (measure, must, aim, less), figure in figures.items()
    ]
    figure = measures.percentile(paris, 50, seed)
    row = Row(task="team", data="a weekend in Paris, warm", arm=TRAINED, measure="seconds, p50", figure=figure)
    return [*made, msgspec.structs.replace(row, must=6.0, aim=2.5, less=True)]
