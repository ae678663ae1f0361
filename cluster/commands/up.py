"""`metier up` and `metier down`: a team on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from argparse import Namespace
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from rich.console import Console

from metier.topics.errors import AlreadyUp, NotUp, Timeout, Unavailable

from .. import team as teams
from ..gateway.settings import address
from ..state import State, Up
from ..view import Steps, console, working
from .session import TRIP, where_of

#: A team has this long to stop by itself.
STOP_S = 60.0
LOOK_EVERY_S = 0.1
#: Begins the line that says so: `--detach` waits for it.
READY = "Ready:"


async def up(options: Namespace) -> int:
    """Runs a team until Ctrl-C or `metier down`; with `--detach`, returns once it is ready."""
    state = State(options.directory)
    team = teams.read(_file(options))
    _refuse_second(state)
    if options.detach:
        return await _detached(options, state)
    return await _foreground(options, team, state)


async def _foreground(options: Namespace, team: teams.Team, state: State) -> int:
    from .. import local  # here: it loads Ray, which the other commands do not need

    screen = console(stderr=options.json)
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack:
        with Steps(screen) as steps:
            starting = local.up(
                team,
                file=_file(options),
                directory=state.path,
                port=options.port,
                progress=steps.tell,
            )
            running = await stack.enter_async_context(starting)
        # Ctrl-C cancels this task; `metier down` is an orderly end.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
        _say_ready(options, running, team, screen)
        await stopping.wait()
        screen.print("Stopping.")
    return 0


def _say_ready(options: Namespace, running: Up, team: teams.Team, screen: Console) -> None:
    if options.json:
        print(msgspec.json.encode(running).decode(), flush=True)  # noqa: T201 - for machines
    screen.print(f"{READY} {running.nats_url}", style="bold green", markup=False, soft_wrap=True)
    if door := team.gateway:
        screen.print(f"Page:  {address(door.host, door.port)}", markup=False, soft_wrap=True)
    example = f'metier ask{where_of(options)} "Plan a weekend in Paris, leaving from London on Friday"'
    screen.print(f"Try:   {example}", markup=False, soft_wrap=True)
    screen.print("Ctrl-C stops everything.", style="dim")


# ── Detached ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _detached(options: Namespace, state: State) -> int:
    """Starts the same command in a session of its own and waits until it is ready. Raises what it said otherwise."""
    state.logs.mkdir(parents=True, exist_ok=True)
    path = state.logs / "up.log"
    with path.open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *_command(options, state),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    screen = console(stderr=options.json)
    try:
        with working(screen, "starting the team"), path.open() as said:
            ended = asyncio.ensure_future(child.wait())
            while not (ready := _told(said.read(), screen)):
                if ended.done():
                    raise Unavailable(what="the team", reason=_last_words(path))
                await asyncio.wait((ended,), timeout=LOOK_EVERY_S)
            ended.cancel()
    except BaseException:
        if child.returncode is None:
            child.terminate()
            await child.wait()
        raise
    if options.json:
        print(msgspec.json.encode(state.read()).decode())  # noqa: T201 - for machines
    else:
        screen.print(f"{ready}  (process {child.pid}, log {path})", markup=False, soft_wrap=True)
        screen.print(f"Stop:  metier down{where_of(options)}", markup=False)
    return 0


def _command(options: Namespace, state: State) -> list[str]:
    command = [sys.executable, "-m", "metier.cluster.cli", "up", "--directory", str(state.path)]
    command += ["--port", str(options.port), "--team", str(_file(options).resolve())]
    return command


def _told(text: str, screen: Console) -> str:
    """The line that says the team is ready; empty while there is none. Shows what comes before."""
    for line in text.splitlines():
        if line.startswith(READY):
            return line
        if line.strip():
            screen.print(line, markup=False, style="dim", soft_wrap=True)
    return ""


def _last_words(path: Path) -> str:
    lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it ended without a word"])[-1]


def _refuse_second(state: State) -> None:
    try:
        running = state.read()
    except NotUp:
        return
    raise AlreadyUp(directory=state.path, pid=running.pid)


def _file(options: Namespace) -> Path:
    return Path(options.team or TRIP)


# ── Down ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def down(options: Namespace) -> int:
    """Stops the team and waits until its processes are gone. Raises NotUp, or Timeout if they will not go."""
    state = State(options.directory)
    running = state.read()
    screen = console(stderr=options.json)
    os.kill(running.pid, signal.SIGTERM)
    with working(screen, "stopping the team"):
        try:
            async with asyncio.timeout(STOP_S):
                while alive(running.pid) or alive(running.nats_pid):  # noqa: ASYNC110 - not our child: nobody tells us
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            raise Timeout(limit_s=STOP_S, what=f"process {running.pid} does not end") from None
    if options.json:
        print(msgspec.json.encode({"stopped": running.pid}).decode())  # noqa: T201 - for machines
    else:
        screen.print(f"Stopped (process {running.pid}).")
    return 0


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits to be read by its parent does not. 0 is nobody."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return False
    return bool(pid) and state not in ("Z", "X")
