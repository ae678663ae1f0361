"""`metier dead`: messages nobody could handle. Each can be read, and sent on its way again."""

from __future__ import annotations

import datetime as dt
from argparse import Namespace

import msgspec

from ..tables import dead_table
from ..view import console
from ..watch.graves import buried, find, send_again, shown, text_of
from .session import connected


async def list_(options: Namespace) -> int:
    """Lists them, oldest first."""
    async with connected(options) as session:
        graves = await buried(session.bus, session.subjects)
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
        grave = await find(session.bus, session.subjects, options.number)
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
        grave = await send_again(session.bus, session.subjects, options.number)
    if options.json:
        print(msgspec.json.encode({"number": grave.number, "subject": grave.dead.subject}).decode())  # noqa: T201
    else:
        console().print(f"Sent again to {grave.dead.subject}.", markup=False)
    return 0
