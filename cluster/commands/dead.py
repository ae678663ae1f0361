"""`metier dead`: messages nobody could handle. Each can be read, and sent on its way again."""

from __future__ import annotations

import asyncio
import datetime as dt
from argparse import Namespace
from uuid import uuid4

import msgspec

from metier.topics.bus import Publication, Received
from metier.topics.codec import decode
from metier.topics.errors import UnknownDead
from metier.topics.messages import Dead
from metier.topics.streams import DEAD

from ..tables import Grave, dead_table
from ..view import console
from .session import Session, connected

#: A stored message that does not come within this time was removed while the list was read.
NEXT_S = 2.0


async def list_(options: Namespace) -> int:
    """Lists them, oldest first."""
    async with connected(options) as session:
        graves = await buried(session)
    if options.json:
        print(msgspec.json.encode([shown(grave) for grave in graves]).decode())  # noqa: T201 - for machines
    elif not graves:
        console().print("No dead messages.")
    else:
        console().print(dead_table(graves, dt.datetime.now(dt.UTC)))
    return 0


async def show(options: Namespace) -> int:
    """Shows one: why it died, its headers, its bytes."""
    async with connected(options) as session:
        grave = await find(session, options.number)
    if options.json:
        print(msgspec.json.encode(shown(grave)).decode())  # noqa: T201 - for machines
        return 0
    screen = console()
    rows: dict[str, object] = {"number": grave.number, "at": grave.at and grave.at.isoformat(timespec="seconds")}
    rows |= {name: value for name, value in shown(grave).items() if name not in ("number", "at", "headers", "payload")}
    for name, value in {**rows, **grave.dead.headers}.items():
        screen.print(f"{name}: {value}", markup=False, soft_wrap=True)
    screen.print(f"\n{text_of(grave.dead.payload)}", markup=False, soft_wrap=True)
    return 0


async def retry(options: Namespace) -> int:
    """Sends one to where it came from, under a new id, and takes it off the list once the stream has it."""
    async with connected(options) as session:
        grave = await find(session, options.number)
        dead = grave.dead
        # What the server wrote (its ids and schedules) was true of the first sending only.
        headers = {name: value for name, value in dead.headers.items() if not name.lower().startswith("nats-")}
        await session.bus.publish(
            Publication(subject=dead.subject, payload=dead.payload, headers=headers, message_id=f"retry-{uuid4().hex}")
        )
        await session.bus.remove(session.subjects.stream(DEAD), grave.number)
    if options.json:
        print(msgspec.json.encode({"number": grave.number, "subject": dead.subject}).decode())  # noqa: T201
    else:
        console().print(f"Sent again to {dead.subject}.", markup=False)
    return 0


async def buried(session: Session) -> list[Grave]:
    """All dead messages."""
    stream = session.subjects.stream(DEAD)
    count = await session.bus.messages(stream)
    found: list[Grave] = []
    if not count:
        return found
    async with session.bus.replay(stream, session.subjects.everything("dead")) as messages:
        while len(found) < count:
            try:
                found.append(_grave(await asyncio.wait_for(anext(messages), NEXT_S)))
            except TimeoutError:
                break
    return found


async def find(session: Session, number: int) -> Grave:
    """The dead message of that number. Raises UnknownDead."""
    for grave in await buried(session):
        if grave.number == number:
            return grave
    raise UnknownDead(number=number, name=number)


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


def _grave(received: Received) -> Grave:
    return Grave(received.sequence, received.at, decode(received.payload, Dead, received.headers))
