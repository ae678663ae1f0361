"""A team started as a person starts it, with `metier up`, and the time that takes."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from metier.cluster.state import Up
from metier.topics.client import connect
from metier.topics.errors import Unavailable
from metier.topics.messages import Context, State
from metier.topics.subjects import Subjects

from . import memory
from .figures import Memory, Start

#: The first task also warms the models.
FIRST_DEADLINE_S = 120.0


class Running(NamedTuple):
    """A team that is up."""

    up: Up
    directory: Path
    #: `time.perf_counter` when the command was given, and the seconds from there to its word that it is ready.
    began: float
    ready_s: float


@asynccontextmanager
async def running(team: Path) -> AsyncIterator[Running]:
    """`metier up` on any free port in a directory of its own; gone on exit. Raises Unavailable with its last words."""
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as folder:
        log = Path(folder) / "up.log"
        command = ["-m", "metier.cluster.cli", "up", "--json", "--port", "0", "--team", str(team)]
        began = time.perf_counter()
        with log.open("wb") as words:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, "--directory", folder, stdout=asyncio.subprocess.PIPE, stderr=words
            )
        try:
            assert process.stdout is not None
            line = await process.stdout.readline()
            if not line:
                raise Unavailable(what=f"team {team}", reason=log.read_text().strip())
            ready_s = time.perf_counter() - began
            yield Running(msgspec.json.decode(line, type=Up), Path(folder), began, ready_s)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def measure(team: Path, text: str) -> tuple[Start, list[Memory]]:
    """The time to ready and to the first answer, and the memory of each process after it."""
    async with running(team) as found:
        async with connect(found.up.nats_url, subjects=Subjects(found.up.root)) as client:
            answer = await client.ask(text, context=Context(home="London"), deadline_s=FIRST_DEADLINE_S)
            first_s = time.perf_counter() - found.began
        if answer.status is not State.OK:
            raise Unavailable(what=f"team {team}", reason=f"{answer.status}: {answer.text}")
        figures = Start(ready_s=round(found.ready_s, 2), first_answer_s=round(first_s, 2))
        return figures, memory.measure(found.up)
