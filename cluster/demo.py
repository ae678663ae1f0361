"""`metier demo`: a team from nothing to an answer, with its trace and its cost, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from rich.console import Console
from rich.text import Text

from metier.topics.client import Client, connect
from metier.topics.errors import Timeout
from metier.topics.messages import Answer, Context, Event, State
from metier.topics.subjects import Subjects

from . import processes, telemetry, traces
from . import team as teams
from .commands.ask import dearest, local_time_zone
from .commands.session import TRIP
from .state import Up
from .tables import waterfall
from .view import Progress, Steps, console, show_answer, working

TEXT = "Plan a weekend in Paris, leaving from London on Friday"
#: The first question also warms the models.
DEADLINE_S = 60.0
#: The last spans of a trace end after the answer has left; they come within this time.
SPANS_S = 3.0


class Clock:
    """Says how long each phase took, counted from the command."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._began = time.monotonic()

    def say(self, what: str) -> None:
        """One line with the seconds since the command."""
        after_s = time.monotonic() - self._began
        self._screen.print(Text(f"{what} after {after_s:.1f} s", style="bold"), soft_wrap=True)


async def demo(options: Namespace) -> int:
    """Starts the trip team, asks, shows everything, and stops what it started, however it ends."""
    screen = console()
    clock = Clock(screen)
    team = teams.read(TRIP)
    with tempfile.TemporaryDirectory(prefix="metier-demo-") as directory:
        async with AsyncExitStack() as stack:
            stack.callback(telemetry.shutdown)
            running = await _start(stack, team, Path(directory), screen)
            clock.say("The team is ready")
            answer = await _ask(running, team, directory, options.text, screen, clock.say)
            await _explain(answer, Path(directory), screen)
            with working(screen, "stopping everything"):
                await stack.aclose()
    clock.say("Everything is stopped, nothing is left behind,")
    return 0 if answer.status is State.OK else 1


async def _start(stack: AsyncExitStack, team: teams.Team, directory: Path, screen: Console) -> Up:
    with Steps(screen) as steps:
        steps.tell("metier", "loads Ray")
        from . import local  # here: it takes a second, which should not pass in silence

        steps.tell("metier", "ready")
        up = local.up(team, file=TRIP, directory=directory, port=0, progress=steps.tell)
        return await stack.enter_async_context(up)


async def _ask(
    running: Up, team: teams.Team, directory: str, text: str, screen: Console, say: Callable[[str], None]
) -> Answer:
    telemetry.setup(service="client", telemetry=team.telemetry, directory=directory)
    async with connect(running.nats_url, subjects=Subjects(running.root)) as client:
        screen.print(Text(f"\n> {text}\n", style="bold"))
        answer = await _followed(client, text, screen)
        show_answer(screen, answer, tier=dearest(team))
        say("First answer")
    return answer


async def _followed(client: Client, text: str, screen: Console) -> Answer:
    context = Context(time_zone=local_time_zone())
    task = await client.submit(text, context=context, deadline_s=DEADLINE_S)
    with Progress(screen) as progress:
        async for item in client.follow(task):
            if isinstance(item, Event):
                progress.show(item)
            else:
                progress.finish(item)
                return item
    raise Timeout(limit_s=DEADLINE_S, what=f"no answer to task {task.task_id}")


async def _explain(answer: Answer, directory: Path, screen: Console) -> None:
    if records := await _spans(directory / telemetry.TRACES, answer.trace_id):
        screen.print()
        screen.print(waterfall(answer.trace_id, records, width=screen.width))
    count, size_bytes = memory()
    if count:
        screen.print(Text(f"{count} processes hold {size_bytes / 1e9:.2f} GB, shared pages counted once", style="dim"))


async def _spans(folder: Path, trace_id: str) -> list[traces.Record]:
    """The trace once no span is missing: the answer was sent, and every parent that is named is there."""
    limit = time.monotonic() + SPANS_S
    while True:
        telemetry.flush()
        records = traces.read(folder, trace_id)
        known = {record.span for record in records}
        sent = any(record.name == "send answer" for record in records)
        whole = all(not record.parent or record.parent in known for record in records)
        if (sent and whole) or time.monotonic() > limit:
            return records
        await asyncio.sleep(0.1)


def memory() -> tuple[int, int]:
    """How many processes this one and its descendants are, and the bytes they hold.

    A page that several share counts for each by its part (proportional set size).
    """
    family = [os.getpid(), *(process.pid for process in processes.descendants(processes.children("")))]
    sizes = [_held_bytes(member) for member in family]
    return (sum(size > 0 for size in sizes), sum(sizes))


def _held_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
