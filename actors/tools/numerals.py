"""Numbers as people write them, in English and French: digits and words."""

from __future__ import annotations

import re
import unicodedata

_UNITS = {
    word: value
    for value, words in enumerate(
        (
            "zero",
            "one",
            "two deux couple pair both",
            "three trois",
            "four quatre",
            "five cinq",
            "six",
            "seven sept",
            "eight huit",
            "nine neuf",
            "ten dix",
            "eleven onze",
            "twelve douze",
            "thirteen treize",
            "fourteen quatorze",
            "fifteen quinze",
            "sixteen seize",
            "seventeen",
            "eighteen",
            "nineteen",
        )
    )
    for word in words.split()
}
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
    "vingt": 20, "vingts": 20, "trente": 30, "quarante": 40, "cinquante": 50, "soixante": 60,
    "septante": 70, "huitante": 80, "nonante": 90,
}  # fmt: skip
_VALUES = _UNITS | _TENS
_FACTORS = {"hundred": 100, "cent": 100, "cents": 100, "dozen": 12, "douzaine": 12}
_THOUSAND = {"thousand", "mille"}
#: Articles: one, where nothing else counts.
_ARTICLES = {"a", "an", "un", "une"}
_JOINTS = {"and", "et"}

_DIGITS = re.compile(r"\d{1,3}(?:[ .,]\d{3})+(?![\d])(?:[.,]\d{1,2}(?!\d))?|\d+(?:[.,]\d+)?")
_PLAIN = re.compile(r"(?:(?<![\w.)])(-)|(?<![\d.]))(\d+(?:\.\d+)?)(?![\d])")
_PERCENT = re.compile(rf"({_DIGITS.pattern})\s?(?:%|per ?cent\b|pour cent\b)")
_TOKEN = re.compile(rf"(?P<digits>{_DIGITS.pattern})|[^\W\d_]+")
_GROUPED = re.compile(r"\d{1,3}(?:[ .,]\d{3})+(?:[.,]\d{1,2})?")


def plain(said: str) -> str:
    """The words in lower case without accents, apostrophes, hyphens and commas, one space between them."""
    return " ".join(re.sub(r"['’ʼ\-‐‑–—;!?\"«»()]+|,(?!\d)", " ", _folded(said)).split()).strip(" .:")


def numbers(said: str) -> list[float]:
    """The numbers said, in order. Articles do not count: see `count`."""
    return [value for value, article in _read(said) if not article]


def candidates(said: str) -> list[int | float]:
    """Every number that a text may mean, each once: "3,4" may be two numbers or one, and "5 %" 5 or 0.05."""
    text = said.replace("\N{MINUS SIGN}", "-")
    found = [sign * float(digits) for sign, digits in _signed(text)]
    found += numbers(said)
    found += [_digits(match[1]) / 100 for match in _PERCENT.finditer(text)]
    return list(dict.fromkeys(int(value) if value.is_integer() else round(value, 12) for value in found))


def _signed(text: str) -> list[tuple[int, str]]:
    """Digits with the sign before them, which is one only where nothing stands before it: 2-4 has none."""
    return [(-1 if match[1] else 1, match[2]) for match in _PLAIN.finditer(text)]


def count(said: str) -> list[float]:
    """The numbers said; where there is none, an article is one ("a night", "une heure")."""
    found = _read(said)
    strong = [value for value, article in found if not article]
    return strong or [1.0 for _ in found[:1]]


def _read(said: str) -> list[tuple[float, bool]]:
    """Numbers with whether each is only an article."""
    found: list[tuple[float, bool]] = []
    run: list[str] = []
    for match in _TOKEN.finditer(_folded(said)):
        if match["digits"]:
            found += _runs(run)
            run = []
            found.append((_digits(match["digits"]), False))
        elif match[0] in _VALUES or match[0] in _FACTORS or match[0] in _THOUSAND | _ARTICLES | _JOINTS:
            run.append(match[0])
        else:
            found += _runs(run)
            run = []
    return found + _runs(run)


def _folded(said: str) -> str:
    letters = unicodedata.normalize("NFKD", said.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _digits(text: str) -> float:
    """1 200 · 1,200 · 1.200,50 · 12.5 · 12,5."""
    if not _GROUPED.fullmatch(text):
        return float(text.replace(",", "."))
    whole, fraction = text, ""
    if match := re.fullmatch(r"(.*\d{3})[.,](\d{1,2})", text):
        whole, fraction = match[1], match[2]
    return float(re.sub(r"\D", "", whole) + "." + (fraction or "0"))


def _runs(words: list[str]) -> list[tuple[float, bool]]:
    """The numbers in words that stand side by side: "cent vingt" is one, "two three" are two."""
    found: list[tuple[float, bool]] = []
    total, part, begun = 0, 0, False
    for word in words:
        if word in _JOINTS:
            continue
        if word in _THOUSAND and part < 1000 and total == 0:
            total, part, begun = max(part, 1) * 1000, 0, True
        elif word in _FACTORS and part < 100:
            part, begun = max(part, 1) * _FACTORS[word], True
        elif word in _ARTICLES and not (part % 100 >= 20 and part % 10 == 0):
            # "a couple", "a hundred": what follows counts; "vingt et un" is 21.
            if begun:
                found.append((float(total + part), False))
                total, part, begun = 0, 0, False
            found.append((1.0, True))
        elif word in {"vingt", "vingts"} and part % 100 == 4:
            part += 76  # quatre-vingt
        else:
            value = 1 if word in _ARTICLES else _VALUES.get(word, 0)
            if begun and not _adds(part, value):
                found.append((float(total + part), False))
                total, part = 0, 0
            part, begun = part + value, True
    return [*found, (float(total + part), False)] if begun else found


def _adds(part: int, value: int) -> bool:
    """Whether a number goes on: "twenty" + "two", "soixante" + "dix", "hundred" + "twenty"."""
    rest = part % 100
    if rest == 0:
        return value < 100
    return (value < 10 and rest % 10 == 0) or (value < 20 and rest in {60, 80})
