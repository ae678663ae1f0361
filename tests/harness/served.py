"""A house on a real nats-server, asked from outside by clients that are not Metier's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from metier.topics.asking import Asking
from metier.topics.jetstream import connect
from metier.topics.load import Load

from .house import SUBJECTS, House, open_house
from .nats_server import NatsServer, nats_server


class Served(NamedTuple):
    """Where to ask, and who works there."""

    server: NatsServer
    house: House


@asynccontextmanager
async def served(directory: Path, **options: Any) -> AsyncIterator[Served]:
    """A server, a house on it, and somebody who replies to asks; options as for `open_house`."""
    with nats_server(directory) as server:
        async with connect(server.url, name="house", subjects=SUBJECTS) as bus, open_house(bus, **options) as house:
            asking = Asking(bus, SUBJECTS, Load(bus, house.consumers))
            running = asyncio.create_task(asking.run())
            asleep = options.get("asleep", ())
            await asyncio.gather(*(loop.working.wait() for name, loop in house.loops.items() if name not in asleep))
            await asking.working.wait()
            try:
                yield Served(server, house)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
