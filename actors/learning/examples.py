"""Examples to learn from: requests, who is needed for each, and what each specialist should call.

A team describes them in its `training` folder: `slots.yaml` says which marks of a sentence fill which argument, and
one file for each language holds the sentences. The same seed makes the same examples.
"""

from __future__ import annotations

import datetime as dt
import random
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from metier.topics.errors import InvalidTeam

from ..tools.base import Offer, Request, spans
from ..tools.function import signature, words_of
from .phrases import Grammar, Sentence, Split, part

#: The group of sentences that no specialist of the team can serve.
OPEN = "open"

# Shares of the whole.
_JOINED = 0.12
_ANSWERED = 0.5
_LOWER_CASE = 0.15
_PLAIN_LETTERS = 0.06


class Call(msgspec.Struct, frozen=True):
    """A tool and its arguments as said."""

    tool: str
    arguments: dict[str, str | None]


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One request and what should become of it."""

    text: str
    #: The specialists needed, in the team's order.
    labels: tuple[str, ...]
    #: Whether the request is open or not for this team; it then needs no specialist.
    open: bool = False
    #: Whether that is known of it.
    routed: bool = True
    #: Specialists of whom nobody said whether they are needed.
    unsaid: tuple[str, ...] = ()
    #: Whether it says what is nobody else's business; None where nobody judged that.
    private: bool | None = None
    calls: dict[str, Call] = {}
    language: str = ""
    #: Which group of sentences, or which data set, it is from.
    source: str = ""


class Slots(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One specialist's tool, and which marks fill its arguments."""

    tool: str
    #: Slots by argument; a name that ends with "?" is one the tool can do without.
    arguments: dict[str, list[str]]
    #: Slots without which the asker is asked.
    needed: list[str]

    def offer(self, text: str) -> Offer:
        """The tool as it is offered for a request: what `FunctionTool.offer` makes of the real one."""
        optional = {name.rstrip("?"): name.endswith("?") for name in self.arguments}
        words = words_of(Request(text=text, today=dt.date.min))
        schema = {
            "type": "object",
            "properties": dict.fromkeys(optional, words),
            "required": list(optional),
            "additionalProperties": False,
        }
        return Offer(name=self.tool, brief=signature(self.tool, optional), schema=schema)


class Team(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all languages of a team share: `slots.yaml`."""

    specialists: dict[str, Slots]
    #: Rules whose alternatives are split between train, dev and test.
    split: list[str]
    #: What is never made.
    never: list[str]
    #: Specialists that are taught otherwise, and only routed to.
    others: list[str] = []
    #: Names of whole requests among the asks (`asks.py`), and the specialists they need.
    wholes: dict[str, list[str]] = {}


class _Sentences(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    rules: dict[str, str]
    #: Sentences by the specialists they need, separated by spaces.
    asks: dict[str, str]
    #: The same, for the router alone.
    routes: dict[str, str] = {}
    #: Between the asks of a joined request.
    joints: list[str]
    #: Around a whole request.
    before: list[str]
    after: list[str]


class Phrasebook:
    """A team's sentences in all its languages."""

    def __init__(self, team: Team, languages: Mapping[str, _Sentences], routing: bool = False) -> None:
        self.team = team
        self._never = {bare(text) for text in team.never}
        self._languages = dict(languages)
        self._asks = {
            name: {
                group: _lines(text) + (_lines(sentences.routes.get(group, "")) if routing else [])
                for group, text in sentences.asks.items()
            }
            for name, sentences in languages.items()
        }
        self._grammars = {
            name: Grammar(
                {rule: _lines(text) for rule, text in sentences.rules.items()},
                frozenset(team.split) & sentences.rules.keys(),
            )
            for name, sentences in languages.items()
        }

    @classmethod
    def read(cls, folder: Path, routing: bool = False) -> Phrasebook:
        """The phrasebook of a team's `training` folder, for tools or for routing. Raises InvalidTeam."""
        try:
            team = msgspec.yaml.decode((folder / "slots.yaml").read_bytes(), type=Team)
            languages = {
                path.stem: msgspec.yaml.decode(path.read_bytes(), type=_Sentences)
                for path in sorted(folder.glob("??.yaml"))
            }
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidTeam(path=str(folder), reason=str(error)) from error
        return cls(team, languages, routing)

    def groups(self, language: str, split: Split) -> list[str]:
        """The groups of sentences a split can draw from."""
        return [group for group, asks in self._asks[language].items() if part(asks, split)]

    def templates(self, language: str, group: str, split: Split) -> list[str]:
        """The sentences of a group that a split draws from."""
        return part(self._asks[language][group], split)

    def example(self, language: str, group: str, split: Split, rng: random.Random) -> Example:
        """One example of a group, its words and its manners drawn at random."""
        while True:
            template = rng.choice(self.templates(language, group, split))
            sentence = self._grammars[language].expand(template, split, rng)
            labels = () if group == OPEN else tuple(group.split())
            example = self._finished(sentence, labels, language, split, rng, source=group)
            if bare(example.text) not in self._never:
                return example

    def joined(self, language: str, split: Split, rng: random.Random) -> Example:
        """Two or three asks for different specialists in one request, each with words of its own."""
        singles = [name for name in self.team.specialists if name in self.groups(language, split)]
        chosen = rng.sample(singles, rng.choice((2, 2, 2, 3)))
        made = Sentence("")
        for number, name in enumerate(chosen):
            template = rng.choice(self.templates(language, name, split))
            ask = self._grammars[language].expand(template, split, rng).scoped(name)
            if number:
                made += Sentence(rng.choice(self._languages[language].joints))
            made += Sentence(ask.text.rstrip(" ?"), ask.marks)
        labels = tuple(name for name in self.team.specialists if name in chosen)
        return self._finished(made, labels, language, split, rng, source="joined")

    def _finished(
        self, made: Sentence, labels: tuple[str, ...], language: str, split: Split, rng: random.Random, source: str
    ) -> Example:
        sentences = self._languages[language]
        made = Sentence(rng.choice(sentences.before)) + made
        if not made.text.endswith("?"):
            made += Sentence(rng.choice(sentences.after))
        made = made.rewritten(_cased(made.text, rng))
        for name in labels:
            made = self._answered(made, name, language, split, rng)
        calls = {name: self._call(made, name) for name in labels if name in self.team.specialists}
        return Example(text=made.text, labels=labels, open=not labels, calls=calls, language=language, source=source)

    def _answered(self, made: Sentence, name: str, language: str, split: Split, rng: random.Random) -> Sentence:
        """Half of the requests that lack something are followed by the asker's answer, on a line of its own."""
        slots = self.team.specialists.get(name)
        if slots is None or rng.random() >= _ANSWERED:
            return made
        for slot in slots.needed:
            sources = next(choice for choice in slots.arguments.values() if slot in choice)
            if made.said(sources, name) is None:
                answer = self._grammars[language].draw(f"answer_{slot}", split, rng)
                made = made + Sentence("\n") + answer.rewritten(_cased(answer.text, rng))
        return made

    def _call(self, made: Sentence, name: str) -> Call:
        slots = self.team.specialists[name]
        said = {argument.rstrip("?"): made.said(sources, name) for argument, sources in slots.arguments.items()}
        allowed = set(spans(made.text))
        if wrong := [words for words in said.values() if words is not None and words not in allowed]:
            raise InvalidTeam(path=made.text, reason=f"{wrong[0]!r} is no run of its words")
        return Call(slots.tool, said)


def generate(
    book: Phrasebook, count: int, split: Split, seed: int, weights: Mapping[str, float], french: float = 0.4
) -> list[Example]:
    """Examples without repetition. `weights` are of groups that need "1", "2" or "3+" specialists, or are "open"."""
    rng = random.Random(f"{seed}/{split}")
    seen: set[str] = set()
    made: list[Example] = []
    for _ in range(count * 20):
        if len(made) == count:
            break
        language = "fr" if rng.random() < french else "en"
        example = _drawn(book, language, split, weights, rng)
        if example.text not in seen:
            seen.add(example.text)
            made.append(example)
    return made


def _drawn(book: Phrasebook, language: str, split: Split, weights: Mapping[str, float], rng: random.Random) -> Example:
    if rng.random() < _JOINED * (weights.get("2", 0) > 0):
        return book.joined(language, split, rng)
    kind = rng.choices(list(weights), list(weights.values()))[0]
    groups = [group for group in book.groups(language, split) if _kind(group) == kind]
    sizes = [len(book.templates(language, group, split)) for group in groups]
    return book.example(language, rng.choices(groups, sizes)[0], split, rng)


def _kind(group: str) -> str:
    if group == OPEN:
        return OPEN
    size = len(group.split())
    return str(size) if size < 3 else "3+"


def public(path: Path, labels: Mapping[str, Sequence[str]], ignored: Sequence[str]) -> Iterator[Example]:
    """The utterances of a CLINC150 file: those of `labels` by intent, those `ignored` left out, all others open."""
    with path.open("rb") as lines:
        for line in lines:
            record = msgspec.json.decode(line, type=_Utterance)
            if record.intent not in ignored:
                needed = tuple(labels.get(record.intent, ()))
                yield Example(
                    text=record.text, labels=needed, open=not needed, language="en", source=f"clinc150/{record.intent}"
                )


class _Utterance(msgspec.Struct, frozen=True):
    text: str
    intent: str


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def bare(text: str) -> str:
    """Letters and digits alone, words apart: what is the same request."""
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.casefold()).split())


def _cased(text: str, rng: random.Random) -> str:
    """A capital letter first; sometimes none at all, or no accents. The length stays."""
    if rng.random() < _PLAIN_LETTERS:
        text = "".join(unicodedata.normalize("NFD", letter)[0] for letter in text)
    if rng.random() < _LOWER_CASE and len(text.lower()) == len(text):
        return text.lower()
    return text[0].upper() + text[1:]
