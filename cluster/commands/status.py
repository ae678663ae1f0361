"""`metier status`: who is there, what waits, how fast it goes."""

from __future__ import annotations

import asyncio
from argparse import Namespace

import msgspec

from metier.topics.codec import decode, encode
from metier.topics.messages import Control, Presence
from metier.topics.streams import DEAD

from .. import build
from ..tables import Row, rows, status_table
from ..view import console, working
from .session import Session, connected

#: How long replicas have to answer.
WAIT_S = 0.5


class Status(msgspec.Struct, frozen=True):
    """A team as `status --json` prints it."""

    team: str
    nats_url: str
    pid: int
    started_at: str
    dead: int
    actors: list[Row]
    replicas: list[Presence]


async def status(options: Namespace) -> int:
    """Asks every replica and every consumer."""
    screen = console(stderr=options.json)
    with working(screen, "asking the team"):
        async with connected(options) as session:
            found = await ask_all(session)
    if options.json:
        print(msgspec.json.encode(found).decode())  # noqa: T201 - for machines
    else:
        screen.print(status_table(found.team, found.actors))
        screen.print(f"{found.nats_url} · process {found.pid} · up since {found.started_at}", style="dim", markup=False)
        if found.dead:
            screen.print(f"{found.dead} dead messages: metier dead", style="yellow")
    return 0


async def ask_all(session: Session) -> Status:
    """What the replicas say and what waits for each actor of the team file, with a replica or without."""
    asking = session.bus.request(session.subjects.control("status"), encode(Control(verb="status")), WAIT_S)
    names = build.actors(session.team)
    waiting = asyncio.gather(*(session.bus.lag(build.consumer(session.team, name)) for name in names))
    replies, lags, dead = await asyncio.gather(asking, waiting, session.bus.messages(session.subjects.stream(DEAD)))
    presences = [decode(reply.payload, Presence, reply.headers) for reply in replies]
    return Status(
        team=session.team.name,
        nats_url=session.up.nats_url,
        pid=session.up.pid,
        started_at=f"{session.up.started_at:%Y-%m-%d %H:%M:%S %Z}".strip(),
        dead=dead,
        actors=rows(dict(zip(names, lags, strict=True)), presences),
        replicas=sorted(presences, key=lambda presence: (presence.actor, presence.replica)),
    )
