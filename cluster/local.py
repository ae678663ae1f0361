"""A whole team on one machine: broker, Ray and all actors, up in one step and gone without a trace."""

from __future__ import annotations

import asyncio
import atexit
import datetime as dt
import importlib
import logging
import math
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from metier.topics import jetstream
from metier.topics.errors import Unavailable
from metier.topics.subjects import Subjects

from . import build, models, processes
from .replica import Settings
from .server import PORT, Server, nats_server
from .state import State, Up
from .team import Team
from .thread import Thread

log = logging.getLogger("metier.local")

#: Told what comes up: "nats", "ray", "serve" or an application's name; then "starting" or "ready".
Progress = Callable[[str, str], None]

#: Ray's own minimum. Nothing of a team lies in the object store.
OBJECT_STORE_BYTES = 80 * 1024 * 1024

#: Ray gives its own agents 15 s to start, and no way to give them more on a busy machine.
RAY_ATTEMPTS = 3

#: Read by Ray and Serve when they are imported, here and in every worker.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's own answer to SIGTERM is a stack trace and the end, with nothing put away.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
    # Ray would have every actor give way to whatever else the machine does, the broker included.
    "RAY_worker_niceness": "0",
    # An actor's loop runs on Serve's own, which is uvloop's: a thread between them would only pass messages on.
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0",
}


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
    try:
        progress("ray", "starting")
        ensured = asyncio.create_task(_ensure(team, settings))
        # Serve is read in while Ray's processes start.
        loaded = asyncio.create_task(asyncio.to_thread(importlib.import_module, "metier.cluster.app"))
        try:
            address = await call(_start, team, state)
            progress("ray", "ready")
            names = await call(_deploy, team, settings, progress)
        finally:
            await asyncio.wait((ensured, loaded))
        ensured.result()
        from . import app

        await app.ready(names, progress, call)
        yield address
    finally:
        await _uncancelled(_end(call))
        call.close()


async def _ensure(team: Team, settings: Settings) -> None:
    async with jetstream.connect(settings.nats_url, name="up", subjects=Subjects(team.root)) as bus:
        await build.ensure(team, bus)


def _start(team: Team, state: State) -> str:
    """Starts Ray on this machine and returns its address. Blocks."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)

    sections = [build.section(team, name) for name in build.actors(team)]
    sections += [team.models[name] for name in models.shared(team)]
    wanted: dict[str, float] = {}
    for section in sections:
        for name, amount in {"CPU": section.resources.cpus, **section.resources.custom}.items():
            wanted[name] = wanted.get(name, 0.0) + amount * section.replicas.max
    # What the file asks of a cluster, this machine says it has: a team for ten nodes runs on one, slowly.
    # As many workers as CPUs start in advance, while the rest of Ray gets ready: one for each actor.
    cpus = max(len(sections) + 1, math.ceil(wanted.pop("CPU")))
    info = _initialised(
        num_cpus=cpus,
        resources=wanted or None,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        namespace="metier",
    )
    logs = state.logs / "ray"
    logs.unlink(missing_ok=True)
    logs.symlink_to(Path(info["session_dir"]) / "logs")
    return str(info["gcs_address"])


def _initialised(**options: Any) -> dict[str, Any]:
    """What Ray says of itself once it runs. Raises Unavailable."""
    import ray

    for attempt in range(1, RAY_ATTEMPTS + 1):
        try:
            context: Any = ray.init("local", **options)
        except Exception as error:  # Ray raises no narrower class
            processes.kill(processes.descendants(processes.children(str(Path(ray.__file__).parent))))
            if attempt == RAY_ATTEMPTS:
                raise Unavailable(what="Ray", reason=f"it did not start: {error}") from error
            log.warning("Ray did not start, once more: %s", error, extra={"action": "ray_error"})
        else:
            return dict(context.address_info)
    raise AssertionError


def _deploy(team: Team, settings: Settings, progress: Progress) -> list[str]:
    from . import app

    progress("serve", "starting")
    app.start()
    progress("serve", "ready")
    return app.submit(team, settings)


async def _end(call: Thread) -> None:
    """Ends the actors, which hand back what they hold; then Ray; then whatever of Ray's still lives."""
    import ray

    home = Path(ray.__file__).parent
    started: set[processes.Process] = set()
    deleting = asyncio.create_task(call(_delete))
    while True:
        lost = any(not process.alive for process in started if process.parent == os.getpid())
        started |= set(processes.descendants(processes.children(str(home))))
        if deleting.done() or lost:
            break
        await asyncio.wait((deleting,), timeout=0.1)
    if lost:
        # A signal to the whole group (systemd, timeout(1)) ended Ray's processes too. Ray would wait a minute for
        # them, then end this one.
        deleting.cancel()
        atexit.unregister(ray.shutdown)
    else:
        await call(ray.shutdown)
    for process in await processes.end(list(started)):
        log.warning("killed process %d: it outlived Ray", process.pid, extra={"action": "kill"})


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
