"""The Schema-Guided Dialogue set: what somebody says, a service's tools, and the call that is asked for.

Rastogi et al., Towards Scalable Multi-domain Conversational Agents (arXiv 1909.05855). Its services stand for tools
that were never seen: the parts `test` and `dev` have services that `train` has not.
"""

from __future__ import annotations

import datetime as dt
import random
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from metier.topics.errors import InvalidInput

from ...prompts import call_prompt, call_text
from ...tools.base import Offer, Request, spans
from ...tools.schema import Described
from ..lessons import Lesson
from ..phrases import split_of

#: The day on which all dialogues take place, a Friday.
TODAY = dt.date(2019, 3, 1)

#: Of the lessons: turns that say values, turns that only say what is wanted, turns that none of the tools is for.
WEIGHTS = {"said": 0.82, "bare": 0.09, "foreign": 0.09}
#: Of the dialogues of `train`, those kept for choosing: services that were learned, turns that were not.
_KEPT = 0.05
#: Of the lessons, those whose tools are shown otherwise than the set has them; of the arguments that nobody said, those
#: they then lack.
_VARIED, _LACKING = 0.6, 0.3

_NUMBERS = {
    word: str(number)
    for number, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    )
}
_TRUE = {"yes": "true"}


class Call(msgspec.Struct, frozen=True):
    """An intent of a service, with values."""

    intent: str
    args: dict[str, str]


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of a user, and the call that is right for it alone."""

    id: str
    text: str = msgspec.field(name="utterance")
    domain: str
    service: str
    #: Whether the dialogue begins with it.
    first: bool = msgspec.field(name="first_turn")
    #: Values as the user said them.
    call: Call
    #: The same as ISO dates, 24 h times and full names, where the set has them.
    canonical: Call | None = msgspec.field(name="call_canonical")

    @property
    def dialogue(self) -> str:
        """What turns share that are not independent of each other."""
        return self.id.split("/")[1]

    @property
    def kept(self) -> bool:
        """Whether it is kept from training, by the hash of its dialogue."""
        return split_of(self.dialogue, _KEPT) == "dev"


class _Slot(msgspec.Struct, frozen=True):
    name: str
    description: str
    is_categorical: bool
    possible_values: list[str]


class _Intent(msgspec.Struct, frozen=True):
    name: str
    description: str
    required_slots: list[str]
    optional_slots: dict[str, str]

    def tool(self, slots: Mapping[str, _Slot]) -> Described:
        """The intent as a tool; "dontcare" is a choice where the set has it as the default."""
        properties: dict[str, Any] = {}
        for name in (*self.required_slots, *self.optional_slots):
            slot, indifferent = slots[name], self.optional_slots.get(name) == "dontcare"
            choices = [*slot.possible_values, "dontcare"] if indifferent else slot.possible_values
            kind = {"enum": choices} if slot.is_categorical else {"type": "string"}
            properties[name] = {"description": slot.description, **kind}
        schema = {"type": "object", "properties": properties, "required": self.required_slots}
        return Described(self.name, schema, self.description)


class _Service(msgspec.Struct, frozen=True):
    slots: list[_Slot]
    intents: list[_Intent]


def read(folder: Path, part: str) -> list[Turn]:
    """The turns of `train`, `kept`, `dev`, `test` or `test_seen`; `kept` is parted from `train` by dialogue. Raises
    InvalidInput."""
    lines = _bytes(folder / f"{'train' if part == 'kept' else part}.jsonl").splitlines()
    turns = [msgspec.json.decode(line, type=Turn) for line in lines]
    return [turn for turn in turns if turn.kept == (part == "kept")] if part in ("train", "kept") else turns


def tools(folder: Path) -> dict[str, list[Described]]:
    """The tools of each service, one for each of its intents. Raises InvalidInput."""
    services = msgspec.json.decode(_bytes(folder / "schemas_all_services.json"), type=dict[str, _Service])
    return {
        name: [intent.tool({slot.name: slot for slot in service.slots}) for intent in service.intents]
        for name, service in services.items()
    }


def offers(tools: Sequence[Described], text: str) -> list[Offer]:
    """Tools as a model sees them with a text."""
    return [tool.offer(Request(text=text, today=TODAY)) for tool in tools]


def lessons(count: int, seed: int, folder: Path) -> list[Lesson]:
    """Lessons of the part `train`: calls, bare calls, and refusals of what another domain is for. Of more than there
    are turns, all are taken before one is taken again, with its tools shown in another way."""
    rng = random.Random(f"{seed}/sgd")
    services, turns = tools(folder), read(folder, "train")
    rng.shuffle(turns)
    said = [turn for turn in turns if turn.call.args]
    bare = [turn for turn in turns if not turn.call.args]
    asked = [*_taken(said, round(count * WEIGHTS["said"])), *_taken(bare, round(count * WEIGHTS["bare"]))]
    made = [lesson(_shown(services[turn.service], turn.call, rng), turn) for turn in asked]
    domains = {turn.domain for turn in turns}
    elsewhere = {domain: [turn for turn in turns if turn.domain != domain] for domain in domains}
    for turn in _taken([turn for turn in turns if elsewhere[turn.domain]], round(count * WEIGHTS["foreign"])):
        other = rng.choice(elsewhere[turn.domain])
        shown = _shown(services[other.service], other.call, rng)
        made.append(_lesson(shown, other.service, turn.text, None))
    found = [each for each in made if each is not None]
    rng.shuffle(found)
    return found


def _taken(turns: Sequence[Turn], count: int) -> list[Turn]:
    return [turns[place % len(turns)] for place in range(count)] if turns else []


def _shown(tools: Sequence[Described], call: Call, rng: random.Random) -> Sequence[Described]:
    """Tools as the set has them, or in another order, with arguments in another order and some that a call does not
    name left out: so that signatures are read, and not known."""
    if rng.random() >= _VARIED:
        return tools
    made = []
    for tool in rng.sample(tools, len(tools)):
        names = [name for name in tool.properties if name in call.args or rng.random() >= _LACKING]
        made.append(tool.only(rng.sample(names, len(names))))
    return made


def asks(folder: Path, names: Mapping[str, str], each: int, seed: int) -> dict[str, list[str]]:
    """What people say first to a service, by the specialist that `names` has for its domain; `each` of them."""
    rng = random.Random(f"{seed}/sgd/asks")
    found: dict[str, dict[str, None]] = {name: {} for name in names.values()}
    for turn in read(folder, "train"):
        if turn.first and turn.domain in names:
            found[names[turn.domain]].setdefault(turn.text)
    return {name: rng.sample(list(texts), min(each, len(texts))) for name, texts in found.items()}


def lesson(tools: Sequence[Described], turn: Turn) -> Lesson | None:
    """What a turn teaches; None if one of its values is neither a choice nor in its words."""
    (tool,) = (each for each in tools if each.name == turn.call.intent)
    words = {normal(span): span for span in reversed(spans(turn.text))}
    arguments: dict[str, Any] = dict.fromkeys(tool.properties)
    for name, value in turn.call.args.items():
        choices: Sequence[str] = tool.properties[name].get("enum", ())
        value_ = next((each for each in choices if normal(each) == normal(value)), None) if choices else None
        arguments[name] = value_ or (None if choices else words.get(normal(value)))
        if arguments[name] is None:
            return None
    return _lesson(tools, turn.service, turn.text, (tool.name, arguments))


def _lesson(tools: Sequence[Described], service: str, text: str, call: tuple[str, dict[str, Any]] | None) -> Lesson:
    offered = offers(tools, text)
    prompt = call_prompt(offered, Request(text=text, today=TODAY), None, may_refuse=True)
    return Lesson(service, prompt.turns, call_text(offered, call, may_refuse=True))


def right(turn: Turn, call: tuple[str, Mapping[str, Any]] | None) -> bool:
    """Exact match: the tool, the names of what was said, and each value as it was said or in canonical form."""
    if call is None or call[0] != turn.call.intent:
        return False
    said = {name: value for name, value in call[1].items() if value is not None}
    return said.keys() == turn.call.args.keys() and all(same(turn, name, value) for name, value in said.items())


def same(turn: Turn, name: str, value: Any) -> bool:
    """Whether a value is the one that the turn says under a name."""
    accepted = [call.args.get(name) for call in (turn.call, turn.canonical) if call is not None]
    return normal(str(value)) in {normal(each) for each in accepted if each is not None}


def normal(value: str) -> str:
    """A value without what does not count: case, spaces, a final full stop; number words as digits."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFKC", value).casefold().strip()).removesuffix(".")
    text = _TRUE.get(text, text)
    return " ".join(_NUMBERS.get(word, word) for word in text.split(" "))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(reason=f"{path} cannot be read: {error.strerror}") from error
