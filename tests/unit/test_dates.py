"""Days and times as people say them; today is Wednesday, 25 November 2026."""

from __future__ import annotations

import datetime as dt

import pytest

from metier.actors.tools.dates import nights_between, resolve_day
from metier.actors.tools.times import resolve_time
from metier.topics.errors import InvalidValue

TODAY = dt.date(2026, 11, 25)

DAYS = {
    "2026-11-24": "yesterday|hier",
    "2026-11-25": "today|aujourd'hui|tonight|ce soir|this Wednesday|ce mercredi|this week|November|now",
    "2026-11-26": "tomorrow|demain|Demain matin|tomorrow at 3pm|demain à 9h|in a day|dans un jour",
    "2026-11-27": "day after tomorrow|the day after tomorrow|après-demain|Friday|on Friday|this Friday|vendredi|"
    "vendredi prochain|ce vendredi|vendredi soir|leaving on Friday|from Friday|à partir de vendredi|Friday morning|"
    "this coming Friday|Friday to Sunday|de vendredi à dimanche|Friday 27 November|vendredi 27 novembre|"
    "Friday the 27th|"
    "27th of November|Fri",
    "2026-11-28": "in three days|dans trois jours|d'ici trois jours|weekend|this weekend|ce week-end|the weekend|"
    "samedi prochain|Saturday evening|week-end",
    "2026-11-30": "next week|la semaine prochaine|next Monday|lundi|lundi de la semaine prochaine|Monday next week",
    "2026-12-01": "next month|le mois prochain|Tuesday at three|mardi à 15h|December 1st|1er décembre|December",
    "2026-12-02": "Wednesday|next Wednesday|mercredi|in a week|dans une semaine|in 7 days",
    "2026-12-04": "next Friday",
    "2026-12-05": "next weekend|le week-end prochain|the 5th|le 5|on the 5th|Saturday, 5th December",
    "2026-12-09": "in two weeks|in a fortnight|dans deux semaines|two weeks from now|dans quatorze jours",
    "2026-12-24": "2026-12-24|24/12|le 24/12|12/24|24/12/2026|24.12.2026|24-12-2026|24/12/26|the 24th|December 24|"
    "24 Dec|"
    "24 décembre|24 December 2026|Dec. 24th, 2026 at 8pm|le jeudi 24 décembre 2026 à 20h|Christmas Eve|"
    "2026-12-24T10:00|"
    "24-27 December|du 24 au 27 décembre|24th of Dec '26|Thursday, December 24",
    "2026-12-25": "Christmas|Noël|in a month|dans un mois|in one month",
    "2026-12-31": "New Year's Eve|la Saint-Sylvestre|the 31st",
    "2027-01-01": "New Year's Day|le nouvel an|January|en janvier",
    "2027-02-25": "in three months|dans trois mois",
    "2027-03-05": "the 5th of March|5 mars|March 5|March 5, 2027|5 March|cinq mars|le 5 mars|fifth of March|5/3",
    "2027-03-21": "twenty-first of March|21 mars|vingt et un mars",
    "2028-02-29": "29 February|29 février",
}


@pytest.mark.parametrize(("day", "said"), [(day, said) for day, words in DAYS.items() for said in words.split("|")])
def test_a_day_is_understood(day: str, said: str) -> None:
    assert dt.date.fromisoformat(day) == resolve_day(said, TODAY)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("there is no 31 November", "31 November"),
        ("there is no 31 November", "31/11"),
        ("there is no 30 February 2026", "2026-02-30"),
        ("there is no 30 February", "30 février"),
        ("there is no 29 February 2027", "29 February 2027"),
        ("there is no month 13", "2026-13-01"),
        ("no month has a day 32", "the 32nd"),
        ("28 November 2026 is a Saturday", "Friday 28 November"),
    ],
)
def test_a_date_that_does_not_exist_is_refused_with_the_reason(reason: str, said: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        resolve_day(said, TODAY)
    assert f"{said!r} is not a date: {reason}." == str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        "Paris",
        "two",
        "a",
        "10pm",
        "3",
        "five",
        "second",
        "hotel on Friday",
        "two nights",
        "the",
        "next",
        "5 star hotel",
    ],
)
def test_words_that_are_no_date_are_refused(said: str) -> None:
    with pytest.raises(InvalidValue, match='say "Friday", "5 March" or "2026-12-24"'):
        resolve_day(said, TODAY)


@pytest.mark.parametrize(
    ("day", "said", "today"),
    [
        ("2026-11-29", "this weekend", "2026-11-29"),
        ("2026-11-28", "this weekend", "2026-11-28"),
        ("2026-12-05", "next weekend", "2026-11-29"),
        ("2026-12-04", "Friday", "2026-11-27"),
        ("2026-11-27", "this Friday", "2026-11-27"),
        ("2026-12-04", "next Friday", "2026-11-29"),
        ("2026-11-24", "24 November", "2026-11-24"),
        ("2027-02-28", "in a month", "2027-01-31"),
        ("2027-01-31", "the 31st", "2027-01-01"),
        ("2027-03-31", "the 31st", "2027-02-01"),
    ],
)
def test_a_day_counts_from_the_askers_day(day: str, said: str, today: str) -> None:
    assert dt.date.fromisoformat(day) == resolve_day(said, dt.date.fromisoformat(today))


@pytest.mark.parametrize(
    ("nights", "said"),
    [
        (2, "from Friday to Sunday"),
        (2, "vendredi à dimanche"),
        (3, "24 to 27 December"),
        (3, "December 24-27"),
        (3, "du 24 au 27 décembre"),
        (4, "30 November to 4 December"),
        (4, "du 30 au 4 décembre"),
        (3, "2026-12-24 to 2026-12-27"),
        (None, "Friday"),
        (None, "London to Paris"),
    ],
)
def test_nights_lie_between_two_days(nights: int | None, said: str) -> None:
    assert nights == nights_between(said, TODAY)


TIMES = {
    "00:00": "midnight|minuit|12am|12 am",
    "03:30": "03:30|3:30 am|half past three in the morning",
    "09:00": "9|9h|9 o'clock|nine in the morning|neuf heures du matin|à 9h|9 am",
    "09:10": "ten past nine|9h10",
    "09:30": "nine thirty|9.30|neuf heures et demie|neuf heures trente",
    "10:15": "10:15|dix heures et quart|quarter past ten|10h15",
    "12:00": "noon|midi|at noon|12pm|à midi",
    "12:30": "midi et demi|half past twelve|12h30",
    "13:00": "one|une heure|1 pm|13h",
    "15:00": "three|at three|at 3pm|3 p.m.|15h|15:00|à quinze heures|trois heures|3 in the afternoon|Tuesday at three|"
    "three o'clock|mardi à 15h|vers 15h|3 heures de l'après-midi",
    "15:30": "15h30|half past three|3:30|3.30 pm|15 h 30|trois heures et demie|quinze heures trente",
    "15:45": "quarter to four|quatre heures moins le quart|15h45",
    "17:40": "twenty to six|six heures moins vingt",
    "20:00": "8pm|20h|8 du soir|huit heures du soir|at 8 at night|20:00",
}


@pytest.mark.parametrize(("time", "said"), [(time, said) for time, words in TIMES.items() for said in words.split("|")])
def test_a_time_is_understood(time: str, said: str) -> None:
    assert dt.time.fromisoformat(time) == resolve_time(said)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("a day has 24 hours of 60 minutes", "25:00"),
        ("a day has 24 hours of 60 minutes", "15h75"),
        *(
            ('say "3 pm", "15:30" or "15h30"', said)
            for said in ("Paris", "morning", "three people", "two or three", "")
        ),
    ],
)
def test_words_that_are_no_time_are_refused_with_the_reason(reason: str, said: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        resolve_time(said)
    assert f"{said!r} is not a time: {reason}." == str(caught.value)
