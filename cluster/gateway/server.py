"""The door on a port of its own: uvicorn around the application."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from metier.topics import jetstream
from metier.topics.errors import PortInUse, Unavailable
from metier.topics.subjects import Subjects

from ..team import Team
from ..watch import page
from ..watch.operations import Watch
from .app import application
from .calls import House
from .connection import within
from .crew import Crew
from .keys import Keys, check_open
from .settings import Gateway

#: Requests may take this long to end when the door closes, in seconds; streams are taken up again elsewhere.
GRACE_S = 2
#: Connections that wait to be accepted.
BACKLOG = 2048


class Server(uvicorn.Server):
    """Serves one application on one socket, and leaves signals to who runs it."""

    def __init__(self, app: Starlette, started: Callable[[], None] = lambda: None) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            http=within(app.state.house.limits.body_s),
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
        )
        super().__init__(config)
        self._started = started
        self._house: House = app.state.house

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield

    def close(self) -> None:
        """Stops accepting and ends all streams; what else runs may end within the grace."""
        self.should_exit = True
        self._house.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says so once it listens."""
        await super().startup(sockets)
        if self.started:
            self._started()


def listener(settings: Gateway, *, shared: bool = False) -> socket.socket:
    """A socket at the door's address, which other processes may share. Raises PortInUse or Unavailable."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG, reuse_port=shared)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(port=settings.port, option="--port") from error
        raise Unavailable(what=f"{settings.host}:{settings.port}", reason=error.strerror or error) from error


def door(
    nats_url: str, subjects: Subjects, settings: Gateway, team: Team | None = None, spans: Path | None = None
) -> Starlette:
    """The application on a broker; `spans`: where this machine keeps them.

    Raises InvalidInput for keys that cannot be read, or that are missing.
    """
    keys = Keys(team.path(settings.keys) if team and settings.keys else settings.keys)
    check_open(settings.host, keys)

    def connect() -> contextlib.AbstractAsyncContextManager[jetstream.JetStreamBus]:
        return jetstream.connect(nats_url, name="gateway", subjects=subjects)

    crew = Crew(subjects, team)
    watch = Watch(subjects, team, crew.consumers, spans, settings.operator)
    return application(connect, subjects, crew, keys, settings, watch.operations, page.routes())
