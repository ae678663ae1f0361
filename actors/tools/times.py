"""Times of day as people say them, in English and French."""

from __future__ import annotations

import datetime as dt
import re

from metier.topics.errors import InvalidValue

from .numerals import numbers, plain

_AROUND = re.compile(
    r"\b(at|around|about|by|from|the|in|of|o clock|oclock|sharp|a|vers|des|du|de|le|la|l|on|for|pile"
    r"|mon|tues?|wed|thurs?|fri|sat|sun|(mon|tues|wednes|thurs|fri|satur|sun)day"
    r"|lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche"
    r"|today|tomorrow|aujourd hui|demain|this|ce|cet|next|prochain)\b"
)
_MORNING = re.compile(r"(?<![a-z])(am|a\.m\.?|morning|matin|matinee)(?![a-z])")
_LATE = re.compile(r"(?<![a-z])(pm|p\.m\.?|afternoon|evening|tonight|night|apres midi|soir|soiree)(?![a-z])")
_NAMED = {"noon": 12, "midday": 12, "midi": 12, "midnight": 0, "minuit": 0}

_CLOCK = re.compile(r"(\d{1,2})(?: ?[h:.] ?(\d{2})?)?(?: ?(?:h|heures?|hours?|min|minutes?))*(?: (\d{2}))?")
_BEFORE = re.compile(
    r"(?:(?P<half>half)|(?P<quarter>quarter)|(?P<minutes>.+?)(?: minutes?)?) "
    r"(?P<side>past|after|to|before) (?P<hour>.+)"
)
_AFTER = re.compile(
    r"(?P<hour>.+?)(?: heures?)? "
    r"(?P<shift>et demie?|et quart|moins quart|moins .+|thirty|trente|fifteen|quinze|forty five|quarante cinq)"
)


def resolve_time(said: str) -> dt.time:
    """The time said: "three", "at 3pm", "15h30", "half past three", "midi", "à quinze heures".

    A bare hour from 1 to 7 is in the afternoon: a meeting "at three" is at 15:00. "03:00" is 03:00.
    Raises InvalidValue.
    """
    text = plain(said)
    late, morning = bool(_LATE.search(text)), bool(_MORNING.search(text))
    words = _LATE.sub(" ", _MORNING.sub(" ", text))
    words = " ".join(_AROUND.sub(" ", words).split()).strip(" .:")
    found = _clock(words)
    if found is None or (late and morning):
        raise InvalidValue(value=said, kind="time", reason='say "3 pm", "15:30" or "15h30"')
    hour, minute = found
    if not (0 <= hour <= 23 and 0 <= minute <= 59):
        raise InvalidValue(value=said, kind="time", reason="a day has 24 hours of 60 minutes")
    bare = not words.startswith("0") and not _fixed(words)
    if late:
        hour += 12 if hour < 12 and bare else 0
    elif morning:
        hour = 0 if hour == 12 and bare else hour
    elif bare and 1 <= hour <= 7:
        hour += 12
    return dt.time(hour, minute)


def _fixed(words: str) -> bool:
    return any(name in words.split() for name in _NAMED)


def _clock(words: str) -> tuple[int, int] | None:
    """Hour and minute as said, before morning and afternoon are told apart."""
    if match := _CLOCK.fullmatch(words):
        return int(match[1]), int(match[2] or match[3] or 0)
    if match := _BEFORE.fullmatch(words):
        hour = _hour(match["hour"])
        minutes = 30 if match["half"] else 15 if match["quarter"] else _number(match["minutes"])
        return _shifted(hour, minutes, back=match["side"] in {"to", "before"})
    if (hour := _hour(words)) is not None:
        return hour, 0
    if match := _AFTER.fullmatch(words):
        shift = match["shift"]
        minutes = 30 if "demi" in shift else 15 if "quart" in shift.split() else _number(shift)
        return _shifted(_hour(match["hour"]), minutes, back=shift.startswith("moins"))
    return None


def _shifted(hour: int | None, minutes: int | None, *, back: bool) -> tuple[int, int] | None:
    if hour is None or minutes is None:
        return None
    return ((hour - 1) % 24, 60 - minutes) if back else (hour, minutes)


def _hour(words: str) -> int | None:
    words = re.sub(r" ?\b(h|heures?|hours?)$", "", words)
    if words in _NAMED:
        return _NAMED[words]
    return 1 if words in {"une", "un"} else _number(words)


def _number(words: str) -> int | None:
    """The one number that words are, if they are nothing else."""
    found = numbers(words)
    known = re.fullmatch(r"\d+|[a-z]+( [a-z]+)?", words)
    return int(found[0]) if len(found) == 1 and known and _only_numbers(words) else None


def _only_numbers(words: str) -> bool:
    return all(numbers(word) or word in {"et", "and", "moins"} for word in words.split())
