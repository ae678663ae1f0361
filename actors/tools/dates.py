"""Days as people say them, in English and French, relative to the asker's day.

Readings, where people differ:

- "Friday", "vendredi", "vendredi prochain": the first Friday after today. "This Friday", "ce vendredi": today included.
- "next Friday", "vendredi de la semaine prochaine": the Friday of the next calendar week (Monday to Sunday).
- A period means its first day that is not past: "this weekend" Saturday, "next weekend" and "le week-end prochain" the
  Saturday of the next calendar week, "next week" its Monday, "next month" and "March" the 1st, "24 to 27 May" the 24th.
- "03/04" is the 3rd of April; the other order is read only where that is no date. ISO is always year, month, day.
- A date without a year is the next such date, today included.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re

from metier.topics.errors import InvalidValue

from .numerals import count, numbers, plain

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "january jan janvier janv",
            "february feb fevrier fevr fev",
            "march mar mars",
            "april apr avril avr",
            "may mai",
            "june jun juin",
            "july jul juillet juil",
            "august aug aout",
            "september sept sep septembre",
            "october oct octobre",
            "november nov novembre",
            "december dec decembre",
        ),
        start=1,
    )
    for name in names.split()
}
_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            "monday mon lundi lun",
            "tuesday tues tue mardi",
            "wednesday wed mercredi mer",
            "thursday thurs thur thu jeudi jeu",
            "friday fri vendredi ven",
            "saturday sat samedi sam",
            "sunday sun dimanche dim",
        )
    )
    for name in names.split()
}
_ORDINAL_WORDS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth"
    " sixteenth seventeenth eighteenth nineteenth twentieth"
)
_ORDINALS = {word: number for number, word in enumerate(_ORDINAL_WORDS.split(), 1)} | {"thirtieth": 30, "premier": 1}
_FEASTS = {
    "christmas": (25, 12), "christmas day": (25, 12), "noel": (25, 12), "christmas eve": (24, 12),
    "reveillon": (24, 12), "new year": (1, 1), "new year day": (1, 1), "nouvel an": (1, 1), "jour an": (1, 1),
    "new year eve": (31, 12), "saint sylvestre": (31, 12), "st sylvestre": (31, 12),
}  # fmt: skip
_OFFSETS = {
    "today": 0, "tonight": 0, "now": 0, "this": 0, "aujourd hui": 0, "maintenant": 0, "ce": 0, "cet": 0, "cette": 0,
    "tomorrow": 1, "demain": 1, "day after tomorrow": 2, "apres demain": 2, "lendemain": 1,
    "yesterday": -1, "hier": -1, "this week": 0, "cette semaine": 0, "this month": 0, "ce mois": 0, "ce mois ci": 0,
}  # fmt: skip

_AROUND = re.compile(
    r"\b(on|the|from|leaving|departing|returning|arriving|starting|beginning|until|till|of|for|by|to|early|late"
    r"|a partir|en partant|partant|depart|arrivee|retour|le|la|les|l|du|des|de|d|au|pour|jusqu|s"
    r"|morning|afternoon|evening|night|matin|matinee|apres midi|soir|soiree|nuit)\b"
)
_CLOCK = re.compile(r" (at|a|vers|around) (?!partir)(?!\D*(demain|day)).+$| \d{1,2} ?(h\d{0,2}|:\d\d|am|pm)\b.*$")
_ISO = re.compile(r"(?<!\d)([12]\d{3})[-/](\d{1,2})[-/](\d{1,2})(?!\d)(?:T[\d:.Z+-]*)?")
_NUMERIC = re.compile(
    r"(?<![\d/.-])(\d{1,2})(?:/(\d{1,2})(?:/(\d{4}|\d{2}))?|[.-](\d{1,2})[.-](\d{4}|\d{2}))(?![\d/.-])"
)
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})"
_WEEKDAY = rf"(?P<weekday>{'|'.join(sorted(_WEEKDAYS, key=len, reverse=True))})"
_DAY = r"(?P<day>\d{1,2}[a-z]{0,2}|[a-z]+(?: [a-z]+){0,2})"
_YEAR = r"(?: (?P<year>[12]\d{3}))?"
_DAY_MONTH = re.compile(f"(?:{_WEEKDAY} )?{_DAY} {_MONTH}{_YEAR}")
_MONTH_DAY = re.compile(f"(?:{_WEEKDAY} )?{_MONTH} {_DAY}{_YEAR}")
_ONLY_MONTH = re.compile(f"(?:in |en |debut )?(?:mois )?{_MONTH}{_YEAR}")
_ONLY_DAY = re.compile(rf"(?:{_WEEKDAY} )?(?P<day>\d{{1,2}}(?P<suffix>st|nd|rd|th|er|e)?)")
_THIS = r"(?P<before>this coming|this|ce|next|coming|a|un)? ?"
_SOME_WEEKDAY = re.compile(_THIS + _WEEKDAY + r" ?(?P<after>prochain|qui vient|next week|semaine prochaine|ci)?")
_WEEKEND = re.compile(_THIS + r"(?:long )?weekend(?: prolonge)? ?(?P<after>prochain|qui vient)?")
_IN = re.compile(r"(?:(?:in|dans|within|ici) (?P<a>.+)|(?P<b>.+) (?:from now|from today))")
_LENGTH = re.compile(r"(?P<number>.*?) ?\b(?P<unit>days?|jours?|weeks?|semaines?|fortnight|quinzaine|months?|mois)")
_RANGE = re.compile(r"(.+?) (?:to|until|till|through|thru|au|a|à|jusqu['’ ]au|jusqu['’ ]à) (.+)", re.IGNORECASE)
_BARE_DAY = re.compile(r"\d{1,2}")


def resolve_day(said: str, today: dt.date) -> dt.date:
    """The day said. Raises InvalidValue for a date that does not exist or cannot be understood."""
    try:
        day = _one(said, today) or _spoken(_CLOCK.sub("", plain(said)), today)
        if day is None:
            day = (_both_ends(said, today) or (None,))[0]
    except ValueError as error:
        raise InvalidValue(value=said, kind="date", reason=str(error)) from error
    day = day or _parsed(said, today)
    if day is None:
        raise InvalidValue(value=said, kind="date", reason='say "Friday", "5 March" or "2026-12-24"')
    return day


def nights_between(said: str, today: dt.date) -> int | None:
    """Nights from one day to another: "from Friday to Sunday", "du 24 au 27 décembre"; None if it is no such pair.

    Raises InvalidValue for a date that does not exist.
    """
    try:
        both = _both_ends(said, today)
    except ValueError as error:
        raise InvalidValue(value=said, kind="date", reason=str(error)) from error
    return (both[1] - both[0]).days if both else None


def _written(said: str, today: dt.date) -> dt.date | None:
    """Dates in digits alone: 2026-12-24, 24/12, 24.12.2026."""
    match = _ISO.search(said) or _NUMERIC.search(said)
    if match is None:
        return None
    rest = _core(plain(said[: match.start()] + " " + said[match.end() :]))
    if rest and rest not in _WEEKDAYS:
        return None
    weekday = _WEEKDAYS.get(rest)
    if match.re is _ISO:
        return _date(int(match[3]), int(match[2]), int(match[1]), today, weekday)
    day, month, year = int(match[1]), int(match[2] or match[4]), match[3] or match[5]
    if month > 12 >= day:
        day, month = month, day
    full = int(year) + (2000 if len(year) == 2 else 0) if year else None
    return _date(day, month, full, today, weekday)


def _spoken(text: str, today: dt.date) -> dt.date | None:
    """Dates with words in them. Raises ValueError for one that does not exist."""
    core = _core(text)
    if core in _OFFSETS:
        return today + dt.timedelta(days=_OFFSETS[core])
    if core in _FEASTS:
        return _date(*_FEASTS[core], None, today, None)
    return _period(core, today) or _distance(text, core, today) or _calendar(text, core, today)


def _core(text: str) -> str:
    """The words that carry a date."""
    text = text.replace("week end", "weekend").replace(".", " ").replace(",", " ")
    apart = re.sub(r"\bapres demain\b", "apres_demain", text)
    return " ".join(_AROUND.sub(" ", apart).split()).replace("apres_demain", "apres demain")


def _period(core: str, today: dt.date) -> dt.date | None:
    monday = today - dt.timedelta(days=today.weekday())
    if core in {"next week", "semaine prochaine"}:
        return monday + dt.timedelta(days=7)
    if core in {"next month", "mois prochain"}:
        return _months_later(today, 1).replace(day=1)
    if match := _WEEKEND.fullmatch(core):
        if match["before"] == "next" or match["after"] == "prochain":
            return monday + dt.timedelta(days=12)
        return max(today, monday + dt.timedelta(days=5))
    if match := _SOME_WEEKDAY.fullmatch(core):
        weekday = _WEEKDAYS[match["weekday"]]
        if match["before"] == "next" or match["after"] in {"next week", "semaine prochaine"}:
            return monday + dt.timedelta(days=7 + weekday)
        first = today if match["before"] in {"this", "ce"} else today + dt.timedelta(days=1)
        return first + dt.timedelta(days=(weekday - first.weekday()) % 7)
    return None


def _distance(text: str, core: str, today: dt.date) -> dt.date | None:
    """ "in three days", "dans une semaine", "two weeks from now"."""
    match = _IN.fullmatch(text) or _IN.fullmatch(core)
    length = match and _LENGTH.fullmatch((match["a"] or match["b"]).removesuffix(" time"))
    if not length:
        return None
    found = count(length["number"]) or ([1.0] if not length["number"] else [])
    if len(found) != 1 or not 0 <= found[0] <= 3660 or not found[0].is_integer():
        return None
    amount, unit = int(found[0]), length["unit"]
    if unit.startswith("mo"):
        return _months_later(today, amount)
    days = 14 if unit in {"fortnight", "quinzaine"} else 7 if unit.startswith(("week", "sem")) else 1
    return today + dt.timedelta(days=days * amount)


def _calendar(text: str, core: str, today: dt.date) -> dt.date | None:
    """ "5 mars", "Friday the 27th of November", "March 5, 2027", "le 24", "in March"."""
    if match := _ONLY_MONTH.fullmatch(core):
        month, year = _MONTHS[match["month"]], match["year"]
        if year is None and month == today.month:
            return today
        return _date(1, month, int(year) if year else None, today, None)
    if match := _DAY_MONTH.fullmatch(core) or _MONTH_DAY.fullmatch(core):
        day, year = _day_number(match["day"]), match["year"]
        weekday = _WEEKDAYS.get(match["weekday"] or "")
        month = _MONTHS[match["month"]]
        return None if day is None else _date(day, month, int(year) if year else None, today, weekday)
    match = _ONLY_DAY.fullmatch(core)
    if match and (match["suffix"] or match["weekday"] or re.search(r"\b(the|le|du|au)\b", text)):
        return _day_of_month(int(re.sub(r"\D", "", match["day"])), today, _WEEKDAYS.get(match["weekday"] or ""))
    return None


def _day_number(words: str) -> int | None:
    """5, 5th, 1er, fifth, twenty first, cinq."""
    if digits := re.fullmatch(r"(\d{1,2})(st|nd|rd|th|er|e)?", words):
        return int(digits[1])
    *tens, last = words.split()
    if last in _ORDINALS and len(tens) <= 1:
        return _ORDINALS[last] + (int(sum(numbers(tens[0]))) if tens else 0)
    found = numbers(words)
    alone = all(count(word) or word in {"et", "and"} for word in words.split())
    return int(found[0]) if len(found) == 1 and alone else None


def _date(day: int, month: int, year: int | None, today: dt.date, weekday: int | None) -> dt.date:
    """A date that exists; without a year the next one. Raises ValueError."""
    if not 1 <= month <= 12:
        raise ValueError(f"there is no month {month}")
    name = calendar.month_name[month]
    if not 1 <= day <= (29 if month == 2 and year is None else calendar.monthrange(year or 2000, month)[1]):
        raise ValueError(f"there is no {day} {name}{f' {year}' if year else ''}")
    when = year or today.year
    while year is None and (not _exists(day, month, when) or dt.date(when, month, day) < today):
        when += 1
    return _checked(dt.date(when, month, day), weekday)


def _exists(day: int, month: int, year: int) -> bool:
    return day <= calendar.monthrange(year, month)[1]


def _day_of_month(day: int, today: dt.date, weekday: int | None) -> dt.date:
    """The next 24th. Raises ValueError."""
    if not 1 <= day <= 31:
        raise ValueError(f"no month has a day {day}")
    month = today.replace(day=1)
    while not _exists(day, month.month, month.year) or month.replace(day=day) < today:
        month = _months_later(month, 1)
    return _checked(month.replace(day=day), weekday)


def _checked(date: dt.date, weekday: int | None) -> dt.date:
    if weekday is not None and date.weekday() != weekday:
        actual = f"{date.day} {calendar.month_name[date.month]} {date.year} is a {calendar.day_name[date.weekday()]}"
        raise ValueError(actual)
    return date


def _months_later(date: dt.date, months: int) -> dt.date:
    """The same day of a later month, or that month's last."""
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    return dt.date(year, month + 1, min(date.day, calendar.monthrange(year, month + 1)[1]))


def _both_ends(said: str, today: dt.date) -> tuple[dt.date, dt.date] | None:
    dashed = said if _ISO.search(said) else re.sub(r"(?<=\w)\s*[–—-]\s*(?=\d{1,2}\b)", " to ", said)
    match = _RANGE.fullmatch(re.sub(r"\s+[–—-]\s+", " to ", dashed))
    if match is None:
        return None
    first, last = (_core(plain(part)) for part in match.groups())
    if _BARE_DAY.fullmatch(first):
        end = _one(match[2], today)
        start = end and _day_of_month(int(first), _months_later(end, -1) + dt.timedelta(days=1), None)
    else:
        start = _one(match[1], today)
        end = start and (_day_of_month(int(last), start, None) if _BARE_DAY.fullmatch(last) else _one(match[2], start))
    return (start, end) if start and end and start <= end else None


def _one(said: str, today: dt.date) -> dt.date | None:
    return _written(said, today) or _spoken(plain(said), today)


def _parsed(said: str, today: dt.date) -> dt.date | None:
    """What dateparser makes of other ways to write a whole date: it reads dates into much else, so ask for one."""
    if not (re.search(r"\b[12]\d{3}\b", said) or _MONTHS.keys() & plain(said).split()):
        return None
    import dateparser  # type: ignore[import-untyped]  # here: it loads slowly, and few dates need it

    settings = {
        "RELATIVE_BASE": dt.datetime.combine(today, dt.time(12)),
        "PREFER_DATES_FROM": "future",
        "REQUIRE_PARTS": ["day", "month"],
        "PARSERS": ["absolute-time"],
    }
    found = dateparser.parse(said, languages=["en", "fr"], settings=settings)
    return found.date() if found else None
