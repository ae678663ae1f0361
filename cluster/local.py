"""A whole team on one machine: broker, Ray and all actors, up in one step and gone without a trace."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from metier.topics import jetstream
from metier.topics.subjects import Subjects

from . import build, deploy, worker
from .forkserver import fork_servers
from .node import Node, prepare
from .replica import Settings
from .server import PORT, Server, nats_server
from .state import State, Up
from .team import Team
from .thread import Thread

#: Told what comes up: "nats", "ray", "serve" or an application's name; then "starting" or "ready".
Progress = Callable[[str, str], None]


def _silent(name: str, state: str) -> None:
    """Tells nobody."""


@asynccontextmanager
async def up(
    team: Team,
    *,
    file: str | Path,
    directory: str | Path | None = None,
    port: int = PORT,
    progress: Progress = _silent,
    signals: bool = True,
) -> AsyncIterator[Up]:
    """The team, working. On exit, on an error, or when SIGINT or SIGTERM comes, everything it started is gone.

    A signal cancels the task that entered. Port 0 is any free one.
    Raises AlreadyUp, PortInUse, ServerMissing, ModelMissing, InvalidTeam or Unavailable.
    """
    state = State(directory)
    build.check(team)
    with state.claim(), _cancelled_by_signals(signals):
        progress("nats", "starting")
        async with nats_server(state.nats, state.logs, port) as server:
            progress("nats", "ready")
            settings = Settings(nats_url=server.url, directory=str(state.path))
            async with _ray(team, settings, state, progress) as address:
                running = _running(team, file, server, address)
                state.write(running)
                yield running


def _running(team: Team, file: str | Path, server: Server, address: str) -> Up:
    return Up(
        pid=os.getpid(),
        nats_url=server.url,
        nats_pid=server.pid,
        monitor_url=server.monitor_url,
        ray_address=address,
        team=str(Path(file).resolve()),
        root=team.root,
        started_at=dt.datetime.now(dt.UTC),
    )


@contextmanager
def _cancelled_by_signals(wanted: bool) -> Iterator[None]:
    """The first SIGINT or SIGTERM cancels the current task; later ones wait for it to end."""
    if not wanted or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    came: list[int] = []

    def cancel(number: int) -> None:
        if not came and task is not None:
            task.cancel()
        came.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, cancel, number)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _ray(team: Team, settings: Settings, state: State, progress: Progress) -> AsyncIterator[str]:
    """A local Ray with the team on it."""
    # It lives as long as the process: Ray's processes die with the thread that started them.
    call = Thread("ray")
    prepare()
    holding = any(deploy.holds_model(team, name) for name in deploy.names(team))
    async with fork_servers(worker.LIGHT, *([worker.MODEL] if holding else [])) as forks:
        node = Node(forks)
        try:
            progress("ray", "starting")
            ensured = asyncio.create_task(_ensure(team, settings))
            # Serve is read in while Ray's processes start.
            loaded = asyncio.create_task(asyncio.to_thread(importlib.import_module, "metier.cluster.app"))
            try:
                address = await call(node.start, team, state.logs / "ray")
                progress("ray", "ready")
                names = await call(_deploy, team, settings, progress)
            finally:
                await asyncio.wait((ensured, loaded))
            ensured.result()
            from . import app

            await app.ready(names, progress, call)
            yield address
        finally:
            await _uncancelled(node.end(call, _delete))
            call.close()


async def _ensure(team: Team, settings: Settings) -> None:
    async with jetstream.connect(settings.nats_url, name="up", subjects=Subjects(team.root)) as bus:
        await build.ensure(team, bus)


def _deploy(team: Team, settings: Settings, progress: Progress) -> list[str]:
    from . import app

    progress("serve", "starting")
    app.start()
    progress("serve", "ready")
    return app.submit(team, settings)


def _delete() -> None:
    import ray

    if ray.is_initialized():
        from . import app

        app.delete()


async def _uncancelled(work: Any) -> None:
    """Runs to the end even if the task is cancelled meanwhile."""
    task, cancelled = asyncio.ensure_future(work), False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
