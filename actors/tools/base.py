"""What a specialist's tool is.

A tool makes an *offer* for each request: the schema its arguments obey there, and what the model is told. Then it is
called with the arguments the model chose. `function.py` makes tools of typed Python functions, `mcp.py` of any MCP
server's tools; a team may write its own class.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec

from metier.topics.messages import Context, Finding, Subtask


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool may know of the subtask it serves."""

    #: The asker's words.
    text: str
    #: The asker's day: what "tomorrow" counts from.
    today: dt.date
    context: Context = Context()
    #: Findings of the nodes this one needed, by node.
    inputs: Mapping[str, Finding] = {}
    #: The same for every delivery of the same subtask: what makes a tool that writes safe to run twice.
    id: str = ""

    @classmethod
    def of(cls, subtask: Subtask, now: dt.datetime) -> Request:
        """The request a subtask carries; `now` in UTC gives the day if the task names none."""
        context = subtask.context
        return cls(
            text=subtask.text,
            today=context.date or now.astimezone(ZoneInfo(context.time_zone)).date(),
            context=context,
            inputs=subtask.inputs,
            id=f"{subtask.task_id}.{subtask.turn}.{subtask.node}",
        )


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as it is offered to the model for one request."""

    name: str
    #: JSON Schema of the arguments: an object, every property required, null where nothing was said.
    schema: dict[str, Any]
    #: Signature and whatever else the model must read before it chooses.
    brief: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a call came to."""

    #: What a person reads.
    text: str
    #: Plain JSON values for other specialists and programs.
    data: Any
    #: The arguments as they were understood, plain JSON values.
    arguments: dict[str, Any]


class Missing(Exception):  # noqa: N818 - not a failure: the asker is asked
    """The asker did not say what the tool cannot do without."""

    def __init__(self, *names: str) -> None:
        self.names = names
        super().__init__(", ".join(names))


class Tool(Protocol):
    """Something a specialist can do."""

    @property
    def name(self) -> str:
        """What the model calls it by."""
        ...

    def offer(self, request: Request) -> Offer | None:
        """The tool for this request; None if it has nothing to offer here."""
        ...

    async def call(self, said: Mapping[str, Any], request: Request) -> Outcome:
        """Runs. `said` obeys the offer's schema.

        Raises Missing, InvalidValue (a value that cannot be understood) or ToolFailed (it cannot be done).
        """
        ...

    async def close(self) -> None:
        """Frees what the tool holds."""
        ...


#: A sign of money stands apart, and a hyphen or a slash parts: "30 €" and "Nantes-Lisbon" have two words each.
_WORD = re.compile(r"\w+(?:[.:,&]\w+)*|[€$£%]")


def spans(text: str, longest: int = 8) -> list[str]:
    """Every run of up to `longest` words of a text, each once, in order of appearance: the values a model may copy."""
    words = [match.span() for match in _WORD.finditer(text)]
    seen: dict[str, None] = {}
    for first, (start, _) in enumerate(words):
        for _, end in words[first : first + longest]:
            seen.setdefault(text[start:end])
    return list(seen)


def marked(text: str, longest: int = 6) -> list[str]:
    """What `spans` leaves out: what stands in quotation marks, and runs of words with the marks they are written with,
    as paths, formulas and identifiers have them."""
    found = [next(group for group in match.groups() if group) for match in _QUOTED.finditer(text)]
    words = text.split()
    for first in range(len(words)):
        for last in range(first + 1, min(first + longest, len(words)) + 1):
            run = " ".join(words[first:last]).strip(_AROUND)
            found += [run, run.rstrip(".:?!")]
    seen = dict.fromkeys(run for run in found if run and not _WORD.fullmatch(run))
    return list(seen)


_QUOTED = re.compile(r"\"([^\"\n]+)\"|(?<!\w)'([^'\n]+)'(?!\w)|“([^”\n]+)”|«\s?([^»\n]+?)\s?»")
_AROUND = ",;\"'“”«»"
