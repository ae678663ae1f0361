"""What the trip team's specialists can do. The order of parameters is what their adapter was trained on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from metier.actors.tools.base import Missing, Request
from metier.actors.tools.values import Money, Nights
from metier.topics.errors import ToolFailed

from .calendar import Calendar, Event
from .listings import NIGHT, Flights, Forecast, Hotels, Restaurants, Sights, count, period, value
from .places import City
from .provider import Flight, Hotel, Restaurant, Sight, Travel, date_text, euros
from .words import tag_of

FLIGHTS_LIMIT = 5
HOTELS_LIMIT = 5
SIGHTS_LIMIT = 8
RESTAURANTS_LIMIT = 5
FORECAST_DAYS_LIMIT = 14
TRAVELLERS_LIMIT = 20
AHEAD_DAYS_LIMIT = 730


async def find_flights(
    origin: City | None,
    destination: City,
    depart: dt.date,
    back: dt.date | None = None,
    nights: Nights | None = None,
    travellers: int | None = None,
    *,
    travel: Travel,
    request: Request,
) -> Flights:
    """Flights there, and back if a day or a number of nights was said."""
    tool = "find_flights"
    if origin is None:
        if request.context.home is None:
            raise Missing("origin")
        origin = City.understand(request.context.home, request)
    if origin == destination:
        raise ToolFailed(tool=tool, reason=f"the journey starts and ends in {origin}")
    _ahead(tool, depart, request)
    back = back or (depart + nights * NIGHT if nights else None)
    if back is not None and back < depart:
        raise ToolFailed(
            tool=tool,
            reason=f"the way back, {date_text(back)}, is before the departure, {date_text(depart)}",
        )
    there = await travel.flights(origin, destination, depart)
    if not there:
        raise ToolFailed(tool=tool, reason=f"no flight from {origin} to {destination} on {date_text(depart)}")
    return Flights(
        origin=str(origin),
        destination=str(destination),
        time_zone=destination.place.time_zone,
        depart=depart,
        back=back,
        travellers=_people(tool, travellers, "travellers"),
        outbound=_cheapest(there),
        inbound=_cheapest(await travel.flights(destination, origin, back)) if back else (),
    )


async def find_hotels(
    city: City,
    check_in: dt.date,
    check_out: dt.date | None = None,
    nights: Nights | None = None,
    guests: int | None = None,
    max_price: Money | None = None,
    *,
    travel: Travel,
    request: Request,
) -> Hotels:
    """Hotels with enough rooms free; one night unless said otherwise; the price is for a room and a night."""
    tool = "find_hotels"
    _ahead(tool, check_in, request)
    check_out = check_out or check_in + (nights or 1) * NIGHT
    if check_out <= check_in:
        raise ToolFailed(
            tool=tool,
            reason=f"check-out, {date_text(check_out)}, is not after check-in, {date_text(check_in)}",
        )
    guests = _people(tool, guests, "guests")
    rooms = (guests + 1) // 2
    stay = f"in {city}, {date_text(check_in)} to {date_text(check_out)}"
    known = await travel.hotels(city, check_in, (check_out - check_in).days)
    free = [hotel for hotel in known if hotel.rooms_free >= rooms]
    if not free:
        raise ToolFailed(tool=tool, reason=f"no hotel {stay} has {count(rooms, 'room')} free on every night")
    within = [hotel for hotel in free if max_price is None or hotel.price_eur <= max_price]
    if not within and max_price is not None:
        reason = f"no room {stay} for {euros(max_price)} a night or less; the cheapest is {_least(free)}"
        raise ToolFailed(tool=tool, reason=reason)
    return Hotels(
        city=str(city),
        time_zone=city.place.time_zone,
        check_in=check_in,
        check_out=check_out,
        guests=guests,
        rooms=rooms,
        options=tuple(sorted(within, key=value)[:HOTELS_LIMIT]),
    )


async def find_sights(
    city: City,
    day: dt.date | None = None,
    nights: Nights | None = None,
    theme: str | None = None,
    *,
    travel: Travel,
    request: Request,
) -> Sights:
    """Sights, of a theme if one was said, that are open on at least one day of the stay."""
    tool = "find_sights"
    if day is not None:
        _ahead(tool, day, request)
    last = day + (nights or 0) * NIGHT if day else None
    known = await travel.sights(city)
    if not known:
        raise ToolFailed(tool=tool, reason=f"no sights of {city} are known")
    chosen, note = _themed(known, theme)
    days = _days(day, last)
    open_ = [sight for sight in chosen if not days or any(sight.open_on(each) for each in days)]
    if not open_ and day and last:
        raise ToolFailed(tool=tool, reason=f"nothing of {theme!r} in {city} is open, {period(day, last)}")
    return Sights(
        city=str(city),
        time_zone=city.place.time_zone,
        first_day=day,
        last_day=last,
        theme=theme,
        options=tuple(open_[:SIGHTS_LIMIT]),
        note=note,
    )


async def find_restaurants(
    city: City,
    day: dt.date | None = None,
    cuisine: str | None = None,
    max_price: Money | None = None,
    *,
    travel: Travel,
    request: Request,
) -> Restaurants:
    """Restaurants open on the day; the price is for one person's dinner."""
    tool = "find_restaurants"
    if day is not None:
        _ahead(tool, day, request)
    known = await travel.restaurants(city)
    chosen = _of_cuisine(tool, city, known, cuisine)
    open_ = [option for option in chosen if day is None or option.open_on(day)]
    what = f"{tag_of('cuisine', cuisine) or cuisine} restaurant" if cuisine else "restaurant"
    if not open_:
        when = f" is open on {date_text(day)}" if day else " is known"
        raise ToolFailed(tool=tool, reason=f"no {what} in {city}{when}")
    within = [option for option in open_ if max_price is None or option.price_eur <= max_price]
    if not within and max_price is not None:
        raise ToolFailed(
            tool=tool,
            reason=f"no {what} in {city} for {euros(max_price)} a person or less; the cheapest is {_least(open_)}",
        )
    return Restaurants(
        city=str(city),
        time_zone=city.place.time_zone,
        day=day,
        cuisine=cuisine,
        options=tuple(within[:RESTAURANTS_LIMIT]),
    )


async def forecast(
    city: City,
    day: dt.date | None = None,
    nights: Nights | None = None,
    *,
    travel: Travel,
    request: Request,
) -> Forecast:
    """The weather of each day; today unless said otherwise, two weeks at most."""
    first = day or request.today
    _ahead("forecast", first, request)
    days = _days(first, first + (nights or 0) * NIGHT)
    told = [await travel.weather(city, each) for each in days[:FORECAST_DAYS_LIMIT]]
    note = f"The first {FORECAST_DAYS_LIMIT} days only." if len(days) > len(told) else None
    return Forecast(city=str(city), days=tuple(told), note=note)


async def add_event(
    title: str,
    day: dt.date,
    start: dt.time,
    duration: dt.timedelta | None = None,
    place: str | None = None,
    *,
    calendar: Calendar,
    request: Request,
) -> Event:
    """Writes an event of an hour, unless said otherwise, in the asker's time zone."""
    _ahead("add_event", day, request)
    event = Event.planned(title, day, start, duration or dt.timedelta(hours=1), place, request)
    return await calendar.add(event)


def _ahead(tool: str, day: dt.date, request: Request) -> None:
    if day < request.today:
        raise ToolFailed(tool=tool, reason=f"{date_text(day)} is past: today is {date_text(request.today)}")
    if day > request.today + AHEAD_DAYS_LIMIT * NIGHT:
        raise ToolFailed(tool=tool, reason=f"{date_text(day)} is more than two years away")


def _people(tool: str, number: int | None, who: str) -> int:
    if number is not None and not 1 <= number <= TRAVELLERS_LIMIT:
        raise ToolFailed(tool=tool, reason=f"{number} {who}: from 1 to {TRAVELLERS_LIMIT} are possible")
    return number or 1


def _days(first: dt.date | None, last: dt.date | None) -> list[dt.date]:
    return [first + day * NIGHT for day in range((last - first).days + 1)] if first and last else []


def _cheapest(flights: Sequence[Flight]) -> tuple[Flight, ...]:
    kept = sorted(flights, key=lambda flight: (flight.price_eur, flight.departs))[:FLIGHTS_LIMIT]
    return tuple(sorted(kept, key=lambda flight: flight.departs))


def _least(options: Sequence[Hotel | Restaurant]) -> str:
    cheapest: Hotel | Restaurant = min(options, key=lambda option: option.price_eur)
    return f"{cheapest.name} at {euros(cheapest.price_eur)}"


def _themed(sights: Sequence[Sight], theme: str | None) -> tuple[Sequence[Sight], str | None]:
    """Sights of a theme; all of them, and a note that says so, if none has it."""
    if theme is None:
        return sights, None
    tag = tag_of("theme", theme)
    if chosen := [sight for sight in sights if tag in sight.themes]:
        return chosen, None
    return sights, f"No sight is listed under {theme!r}: these are the main ones."


def _of_cuisine(tool: str, city: City, known: Sequence[Restaurant], cuisine: str | None) -> Sequence[Restaurant]:
    if cuisine is None:
        return known
    tag = tag_of("cuisine", cuisine)
    chosen = [option for option in known if option.cuisine == tag]
    if not chosen:
        there = ", ".join(sorted({option.cuisine for option in known}))
        raise ToolFailed(tool=tool, reason=f"no {tag or cuisine} restaurant in {city}; there are: {there}")
    return chosen
