"""`metier status`: who is there, what waits, how fast it goes."""

from __future__ import annotations

from argparse import Namespace

import msgspec

from metier.topics.messages import Presence

from ..tables import status_table
from ..view import console, working
from ..watch import standing
from ..watch.standing import Row
from .session import Session, connected


class Status(msgspec.Struct, frozen=True):
    """A team as `status --json` prints it."""

    team: str
    nats_url: str
    #: Of the team's process on this machine; none for a team elsewhere.
    pid: int | None
    started_at: str | None
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
        here = f" · process {found.pid} · up since {found.started_at}" if found.pid else ""
        screen.print(f"{found.nats_url}{here}", style="dim", markup=False)
        if found.dead:
            screen.print(f"{found.dead} dead messages: metier dead", style="yellow")
    return 0


async def ask_all(session: Session) -> Status:
    """How the team stands, with what is known of its process."""
    found = await standing.ask_all(session.bus, session.subjects, standing.consumers(session.team))
    up = session.up
    return Status(
        team=session.team.name,
        nats_url=session.nats_url,
        pid=up.pid if up else None,
        started_at=f"{up.started_at:%Y-%m-%d %H:%M:%S %Z}".strip() if up else None,
        dead=found.dead,
        actors=found.actors,
        replicas=found.replicas,
    )
