"""`metier top`: the team as it works, until Ctrl-C."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from argparse import Namespace
from collections.abc import Mapping

from rich.console import Group
from rich.live import Live
from rich.text import Text

from metier.topics.errors import InvalidInput

from .. import build
from ..sizing import Decision
from ..tables import live_table
from ..view import console
from ..watch import standing
from .session import Session, connected
from .status import Status, ask_all


async def top(options: Namespace) -> int:
    """Draws the team anew every `--every` seconds. Raises InvalidInput where nobody can look."""
    screen = console()
    if not screen.is_terminal:
        raise InvalidInput(reason="`metier top` draws on a terminal; for programs there is `metier status --json`")
    written: Mapping[str, int] = {}
    asked_at = time.monotonic()
    async with connected(options) as session:
        scaled = standing.scaled(session.team)
        with Live(console=screen, screen=True, auto_refresh=False) as live:
            while True:
                status, decided = await asyncio.gather(ask_all(session), standing.decisions(session.bus, scaled))
                seconds, asked_at = time.monotonic() - asked_at, time.monotonic()
                live.update(draw(session, status, decided, written, seconds), refresh=True)
                written = {row.actor: row.output_tokens for row in status.actors}
                await asyncio.sleep(options.every)


def draw(
    session: Session, status: Status, decided: Mapping[str, Decision], written: Mapping[str, int], seconds: float
) -> Group:
    """The screen; `written` are the tokens each actor had written so many seconds ago."""
    rates = {
        row.actor: max(0, row.output_tokens - written[row.actor]) / seconds
        for row in status.actors
        if row.actor in written
    }
    bounds = {name: build.section(session.team, name).replicas for name in build.actors(session.team)}
    most = {name: size.max for name, size in bounds.items()}
    now = dt.datetime.now(dt.UTC)
    dead = f" · {status.dead} dead messages: metier dead" if status.dead else ""
    foot = Text(f"{status.nats_url} · {now.astimezone():%H:%M:%S} · Ctrl-C ends{dead}", style="dim")
    return Group(live_table(status.team, status.actors, most, rates, decided, now), foot)
