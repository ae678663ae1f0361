"""What the asker's words mean as values: the model copies them, code understands them.

Built in: date, time, timedelta, int, float, bool, str, StrEnum and Literal, and the kinds below. A team adds a kind by
giving a class a classmethod `understand(said: str, request: Request) -> Self` that raises InvalidValue.
"""

from __future__ import annotations

import datetime as dt
import re
import types
import typing
from enum import StrEnum
from typing import Any, Literal, Self

from metier.topics.errors import InvalidValue

from .base import Request
from .dates import nights_between, resolve_day
from .numerals import count, numbers, plain
from .times import resolve_time


def understand(kind: Any, said: object, request: Request) -> Any:
    """What was said, as a value of a kind. Raises InvalidValue, or TypeError for a kind nobody knows."""
    kind = bare(kind)
    if own := getattr(kind, "understand", None):
        return own(str(said).strip(), request)
    if (allowed := choices(kind)) is not None:
        return _choice(kind, said, allowed)
    reader = _READERS.get(kind)
    if reader is None:
        raise TypeError(f"{kind!r} has no classmethod `understand` and is not a built-in kind")
    return reader(str(said).strip(), request)


def known(kind: Any) -> bool:
    """Whether `understand` can make a value of this kind."""
    kind = bare(kind)
    return kind in _READERS or hasattr(kind, "understand") or choices(kind) is not None


def choices(kind: Any) -> list[Any] | None:
    """The values of a StrEnum, a Literal or bool, plain; None for a kind that is open."""
    kind = bare(kind)
    if kind is bool:
        return [True, False]
    if typing.get_origin(kind) is Literal:
        return list(typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return [member.value for member in kind]
    return None


def bare(kind: Any) -> Any:
    """T for `T | None`; other kinds as they are."""
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        parts = [part for part in typing.get_args(kind) if part is not types.NoneType]
        return parts[0] if len(parts) == 1 else kind
    return kind


class Nights(int):
    """How many nights somebody stays: "two nights", "a weekend" (2), "a week" (7), "3 days" (2), "du 24 au 27"."""

    @classmethod
    def understand(cls, said: str, request: Request) -> Self:
        """The nights said; a bare number is nights, days are one more than their nights. Raises InvalidValue."""
        nights = _nights(plain(said))
        if nights is None:
            nights = nights_between(said, request.today)
        if nights is None:
            raise InvalidValue(value=said, kind="number of nights", reason='say "two nights", "a weekend" or "a week"')
        if not 1 <= nights <= 365:
            raise InvalidValue(value=said, kind="number of nights", reason="a stay is 1 to 365 nights")
        return cls(nights)


class Money(float):
    """A sum in EUR, the currency of catalogue prices: "under 100 euros", "€80", "1 200 €"; a bare number is EUR."""

    @classmethod
    def understand(cls, said: str, request: Request) -> Self:
        """The sum said. Raises InvalidValue, also for another currency."""
        if _FOREIGN.search(plain(said)):
            raise InvalidValue(value=said, kind="sum in EUR", reason="prices are in EUR, so name the sum in EUR")
        found = numbers(said)
        if len(found) != 1:
            raise InvalidValue(value=said, kind="sum in EUR", reason='name one sum, such as "100 euros"')
        return cls(found[0])


_FOREIGN = re.compile(r"[$£¥₹]|\b(usd|dollars?|gbp|pounds?|sterling|livres?|chf|francs?|jpy|yens?|cad|aud)\b")
_PERIODS = (
    (r"long weekends?|weekend prolonge", 3),
    (r"weekends?", 2),
    (r"fortnights?|quinzaine", 14),
    (r"overnight", 1),
)
_UNITS = re.compile(r"\b(nights?|nuits?|nuitees?|days?|jours?|journees?|weeks?|semaines?)\b")


def _nights(text: str) -> int | None:
    text = text.replace("week end", "weekend")
    units = _UNITS.findall(text)
    found = count(text)
    if not units:
        for pattern, nights in _PERIODS:
            if re.search(rf"\b({pattern})\b", text) and not re.search(r"\d", text):
                return nights
        bare = re.sub(r"^(for|pour) ", "", text)
        spelt = all(word.isdecimal() or (word.isalpha() and count(word)) or word == "et" for word in bare.split())
        return _whole(found) if spelt and numbers(text) else None
    amount = _whole(found)
    if amount is None and not found and len(units) == 1:
        amount = 1  # "the week"
    if amount is None or len(set(units)) != 1:
        return None
    unit = units[0]
    if unit.startswith(("week", "semaine")):
        return 7 * amount
    return amount if unit.startswith(("night", "nuit")) else amount - 1


def _whole(found: list[float]) -> int | None:
    return int(found[0]) if len(found) == 1 and found[0].is_integer() else None


_SPANS = {
    "week": "weeks", "semaine": "weeks", "day": "days", "jour": "days", "hour": "hours", "heure": "hours",
    "hr": "hours", "h": "hours", "minute": "minutes", "min": "minutes", "mn": "minutes",
}  # fmt: skip
_SPAN = re.compile(rf"(.*?)(?<![a-z])({'|'.join(sorted(_SPANS, key=len, reverse=True))})s?(?![a-z])")


def _duration(said: str, request: Request) -> dt.timedelta:
    """ "an hour", "45 minutes", "1h30", "half an hour", "une heure et demie"."""
    text = plain(said)
    total, end, unit = dt.timedelta(), 0, ""
    for match in _SPAN.finditer(text):
        unit, end = _SPANS[match[2]], match.end()
        amount = _amount(match[1])
        if amount is None:
            break
        total += dt.timedelta(**{unit: amount})
    else:
        total += _tail(text[end:], unit) if unit else dt.timedelta()
        if dt.timedelta() < total <= dt.timedelta(days=366):
            return total
    raise InvalidValue(value=said, kind="duration", reason='say "45 minutes", "an hour" or "1h30"')


def _amount(text: str) -> float | None:
    """How many of a unit the words before it say: "two", "a", "half an", "three quarters of an", "one and a half"."""
    if parts := re.match(r"(.*?)\b(quarters?|quarts?)\b", text):
        return (count(parts[1]) or [1.0])[0] / 4
    half = 0.5 if re.search(r"\b(half|demi|demie)\b", text) else 0.0
    found = numbers(text) if half else count(text)
    return (found[0] if found else 0.0) + half if len(found) == 1 or (half and not found) else None


def _tail(text: str, unit: str) -> dt.timedelta:
    """What follows the last unit: "and a half", "et quart", the 30 of "1h30"."""
    found = numbers(text)
    if unit == "hours" and len(found) == 1 and found[0] < 60:
        return dt.timedelta(minutes=found[0])
    if re.search(r"\b(half|demi|demie)\b", text):
        return dt.timedelta(**{unit: 0.5})
    if re.search(r"\b(quarter|quart)\b", text):
        return dt.timedelta(**{unit: 0.25})
    return dt.timedelta()


def _int(said: str, request: Request) -> int:
    """ "for two people", "a", "2"; "alone" is one."""
    found = count(said)
    if not found and re.search(r"\b(alone|solo|seule?|just me|myself)\b", plain(said)):
        found = [1.0]
    value = _whole(found)
    if value is None:
        reason = "it holds several numbers" if len(found) > 1 else 'say "two" or "2"'
        raise InvalidValue(value=said, kind="whole number", reason=reason)
    return value


def _float(said: str, request: Request) -> float:
    found = count(said)
    if len(found) != 1:
        reason = "it holds several numbers" if found else 'say "2.5" or "two"'
        raise InvalidValue(value=said, kind="number", reason=reason)
    return found[0]


def _str(said: str, request: Request) -> str:
    return said


def _choice(kind: Any, said: object, allowed: list[Any]) -> Any:
    for value in allowed:
        if said == value or (plain(str(said)) == plain(str(value))):
            return kind(value) if isinstance(kind, type) else value
    if kind is bool and (answer := _YES_NO.get(plain(str(said)))) is not None:
        return answer
    names = "yes or no" if kind is bool else "one of " + ", ".join(str(value) for value in allowed)
    raise InvalidValue(value=said, kind="choice", reason=f"choose {names}")


_YES_NO = {"yes": True, "oui": True, "no": False, "non": False}

_READERS: dict[Any, Any] = {
    dt.date: lambda said, request: resolve_day(said, request.today),
    dt.time: lambda said, request: resolve_time(said),
    dt.timedelta: _duration,
    int: _int,
    float: _float,
    str: _str,
}
