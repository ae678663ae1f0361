"""Dead messages: what nobody could handle. Each can be read, and sent on its way again."""

from __future__ import annotations

import asyncio
import datetime as dt
from uuid import uuid4

import msgspec

from metier.topics.bus import Bus, Publication, Received
from metier.topics.codec import decode
from metier.topics.errors import UnknownDead
from metier.topics.messages import Dead
from metier.topics.streams import DEAD
from metier.topics.subjects import Subjects

#: A stored message that does not come within this time was removed while the list was read.
NEXT_S = 2.0


class Grave(msgspec.Struct, frozen=True):
    """A dead message and its place in the stream."""

    number: int
    at: dt.datetime | None
    dead: Dead


async def buried(bus: Bus, subjects: Subjects, newest: int | None = None) -> list[Grave]:
    """All dead messages, oldest first, or those of the newest numbers."""
    last = await _last(bus, subjects)
    after = max(0, last - newest) if newest else 0
    found: list[Grave] = []
    if last <= after:
        return found
    async with bus.replay(subjects.stream(DEAD), subjects.everything("dead"), after) as messages:
        while not found or found[-1].number < last:
            try:
                async with asyncio.timeout(NEXT_S):
                    found.append(_grave(await anext(messages)))
            except TimeoutError:
                break
    return found


async def find(bus: Bus, subjects: Subjects, number: int) -> Grave:
    """The dead message of that number. Raises UnknownDead."""
    if 0 < number <= await _last(bus, subjects):
        async with bus.replay(subjects.stream(DEAD), subjects.everything("dead"), number - 1) as messages:
            async with asyncio.timeout(NEXT_S):
                grave = _grave(await anext(messages))
        if grave.number == number:
            return grave
    raise UnknownDead(number=number, name=number)


async def send_again(bus: Bus, subjects: Subjects, number: int) -> Grave:
    """Sends one to where it came from, under a new id, and takes it off the list once the stream has it.

    Raises UnknownDead.
    """
    grave = await find(bus, subjects, number)
    dead = grave.dead
    # What the server wrote (its ids and schedules) was true of the first sending only.
    headers = {name: value for name, value in dead.headers.items() if not name.lower().startswith("nats-")}
    await bus.publish(
        Publication(subject=dead.subject, payload=dead.payload, headers=headers, message_id=f"retry-{uuid4().hex}")
    )
    await bus.remove(subjects.stream(DEAD), grave.number)
    return grave


def shown(grave: Grave) -> dict[str, object]:
    """A dead message for a reader: its bytes as text where they are text."""
    dead = grave.dead
    return {
        "number": grave.number,
        "at": grave.at,
        "actor": dead.actor,
        "reason": dead.reason,
        "subject": dead.subject,
        "attempts": dead.attempts,
        "headers": dead.headers,
        "payload": text_of(dead.payload),
    }


def text_of(payload: bytes) -> str:
    """The bytes as text, or in hexadecimal."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload.hex(" ")


async def _last(bus: Bus, subjects: Subjects) -> int:
    """The newest number, or 0."""
    newest = await bus.last(subjects.stream(DEAD), subjects.everything("dead"))
    return newest.sequence if newest else 0


def _grave(received: Received) -> Grave:
    return Grave(received.sequence, received.at, decode(received.payload, Dead, received.headers))
