"""Values as people say them, in English and French."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any, Literal, Self

import pytest

from metier.actors.tools.base import Request
from metier.actors.tools.numerals import numbers
from metier.actors.tools.values import Money, Nights, choices, known, understand
from metier.topics.errors import InvalidValue

REQUEST = Request(text="", today=dt.date(2026, 11, 25))


class Cabin(StrEnum):
    ECONOMY = "economy"
    FIRST = "first class"


class Town(str):
    @classmethod
    def understand(cls, said: str, request: Request) -> Self:
        return cls(f"{said.title()} seen on {request.today}")


def table(kind: Any, rows: dict[Any, str]) -> list[tuple[Any, Any, str]]:
    return [(kind, value, said) for value, words in rows.items() for said in words.split("|")]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        *table(
            Nights,
            {
                1: "a night|une nuit|one night|overnight|two days|1",
                2: "two nights|deux nuits|a weekend|weekend|un week-end|3 days|trois jours|from Friday to Sunday|2",
                3: "trois nuits|for three nights|long weekend|un long week-end|week-end prolongé|du 24 au 27 décembre",
                7: "a week|une semaine|1 week|the week|7 nights",
                21: "twenty-one|vingt et un|21 nights",
                14: "two weeks|deux semaines|a fortnight|quinze jours",
            },
        ),
        *table(
            Money,
            {
                80.0: "€80|80 euros|80|80 EUR|quatre-vingts euros",
                100.0: "under 100 euros|moins de 100€|a hundred euros|cent euros",
                1200.0: "1 200 €|1,200 euros|1.200 €|1200|twelve hundred euros|mille deux cents euros",
                1200.5: "1,200.50 EUR|1.200,50 €",
            },
        ),
        *table(
            dt.timedelta,
            {
                dt.timedelta(minutes=15): "a quarter of an hour|un quart d'heure|15 min|fifteen minutes",
                dt.timedelta(minutes=30): "half an hour|une demi-heure|30 minutes|trente minutes|30-minute",
                dt.timedelta(minutes=45): "45 minutes|three quarters of an hour|trois quarts d'heure",
                dt.timedelta(hours=1): "an hour|une heure|1h|one hour|60 min|for an hour",
                dt.timedelta(minutes=90): "1h30|an hour and a half|une heure et demie|1 h 30 min|1.5 hours|90 minutes|"
                "one and a half hours|1 hour 30 minutes|1,5 heure",
                dt.timedelta(days=2): "two days|deux jours",
            },
        ),
        *table(
            int,
            {
                1: "a|une|one|un|1|alone|just me|seul",
                2: "for two people|two|deux personnes|2|a couple|the two of us|à deux",
                4: "a table for four|party of 4|quatre",
                21: "vingt et un|twenty-one|21",
                97: "quatre-vingt-dix-sept|ninety seven",
            },
        ),
        *table(float, {2.5: "2.5|2,5|about 2.5", 2.0: "two"}),
        *table(bool, {True: "yes|Oui|true", False: "no|non"}),
        *table(str, {"Anna": "Anna| Anna "}),
        *table(Cabin, {Cabin.FIRST: "first class|First-class"}),
        *table(Literal["cheap", "fast"], {"cheap": "cheap|Cheap"}),
        *table(dt.date, {dt.date(2026, 11, 27): "Friday|vendredi"}),
        *table(dt.time, {dt.time(15): "three|15h"}),
        *table(dt.date | None, {dt.date(2026, 11, 26): "tomorrow"}),
        *table(Town, {Town("Paris seen on 2026-11-25"): "paris"}),
    ],
)
def test_a_value_is_understood(kind: Any, value: Any, said: str) -> None:
    understood = understand(kind, said, REQUEST)
    assert (value, type(value)) == (understood, type(understood)) or isinstance(understood, Nights | Money)
    assert value == understood


@pytest.mark.parametrize(
    ("message", "kind", "said"),
    [
        ("'$120' is not a sum in EUR: prices are in EUR, so name the sum in EUR.", Money, "$120"),
        ("'90 livres' is not a sum in EUR: prices are in EUR, so name the sum in EUR.", Money, "90 livres"),
        ("'80 to 100 €' is not a sum in EUR: name one sum, such as \"100 euros\".", Money, "80 to 100 €"),
        ("'one day' is not a number of nights: a stay is 1 to 365 nights.", Nights, "one day"),
        ('\'31st\' is not a number of nights: say "two nights", "a weekend" or "a week".', Nights, "31st"),
        ("'2 or 3' is not a whole number: it holds several numbers.", int, "2 or 3"),
        ('\'Paris\' is not a whole number: say "two" or "2".', int, "Paris"),
        ('\'45\' is not a duration: say "45 minutes", "an hour" or "1h30".', dt.timedelta, "45"),
        ("'business' is not a choice: choose one of economy, first class.", Cabin, "business"),
        ("'maybe' is not a choice: choose yes or no.", bool, "maybe"),
        ('\'2.5\' is not a whole number: say "two" or "2".', int, "2.5"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_the_reason(message: str, kind: Any, said: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        understand(kind, said, REQUEST)
    assert message == str(caught.value)


def test_a_kind_nobody_knows_is_a_type_error() -> None:
    assert not known(bytes)
    with pytest.raises(TypeError, match="has no classmethod `understand`"):
        understand(bytes, "Paris", REQUEST)


@pytest.mark.parametrize(
    ("allowed", "kind"),
    [
        (["economy", "first class"], Cabin),
        (["cheap", "fast"], Literal["cheap", "fast"]),
        ([True, False], bool),
        (None, str),
    ],
)
def test_choices_are_plain_values(allowed: list[Any] | None, kind: Any) -> None:
    assert allowed == choices(kind)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([2.0, 3.0], "two and three"),
        ([1.0, 2.0], "one adult and two children"),
        ([250.0], "two hundred and fifty"),
        ([71.0], "soixante et onze"),
        ([12500.0], "twelve thousand five hundred"),
        ([1200.0], "1\u202f200"),
        ([], "a night in Paris"),
    ],
)
def test_numbers_are_read_in_digits_and_words(found: list[float], said: str) -> None:
    assert found == numbers(said)
