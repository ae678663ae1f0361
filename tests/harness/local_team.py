"""`metier up` as a process of its own, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]
import pytest

from metier.cluster.state import State, Up
from metier.topics.client import Client, connect
from metier.topics.errors import NotUp
from metier.topics.streams import ANSWERS
from metier.topics.subjects import Subjects

ECHO = Path(__file__).parent / "team_echo" / "team.yaml"
START_S = 200.0
STOP_S = 60.0
ANSWERS_S = 5.0

T = TypeVar("T")

_pause = threading.Event()
_key = pytest.StashKey["LocalTeam"]()


class LocalTeam:
    """A team that a command runs."""

    def __init__(self, directory: Path, file: Path = ECHO) -> None:
        self.directory = directory
        self.state = State(directory)
        self._said = directory.with_suffix(".out")
        command = [sys.executable, "-m", "metier.cluster.cli", "up", "--team", str(file)]
        command += ["--directory", str(directory), "--port", "0"]
        with self._said.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        self._seen: set[psutil.Process] = set()

    @property
    def said(self) -> str:
        return self._said.read_text()

    def ready(self) -> Up:
        """Waits until the team is up."""
        return until(self._up, START_S, f"the team is up; it said: {self.said}")

    def processes(self) -> set[psutil.Process]:
        """Every process of the team seen so far: the command and all below it."""
        try:
            parent = psutil.Process(self.process.pid)
            self._seen |= {parent, *parent.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass
        return self._seen

    def replica(self, application: str) -> psutil.Process | None:
        """The process of an application's replica."""
        pattern = re.compile(rf"ray::ServeReplica:{application}:")
        for process in self.processes():
            try:
                if process.is_running() and pattern.match(" ".join(process.cmdline())):
                    return process
            except psutil.Error:
                continue
        return None

    def part(self, words: str) -> psutil.Process:
        """The process that the command started with these words; a fork of it has them too for a moment."""
        parts = psutil.Process(self.process.pid).children()
        (found,) = (process for process in parts if words in " ".join(process.cmdline()))
        return found

    def stop(self, number: int = signal.SIGTERM) -> set[psutil.Process]:
        """Ends the command with a signal to its whole group, as a terminal does, and returns what of it is left."""
        self.processes()
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.wait(STOP_S)
        return {process for process in self._seen if _alive(process)}

    def _up(self) -> Up | None:
        if self.process.poll() is not None:
            raise RuntimeError(f"the team ended: {self.said}")
        self.processes()
        try:
            return self.state.read()
        except NotUp:
            return None


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], T | None], limit_s: float, what: str) -> T:
    """What the condition gives once it holds."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit_s:g} s: {what}")
        _pause.wait(0.05)
    return found


@contextmanager
def local_team(directory: Path, file: Path = ECHO) -> Iterator[LocalTeam]:
    """A team, ended however the test ends."""
    team = LocalTeam(directory, file)
    try:
        yield team
    finally:
        for process in team.stop():
            process.kill()


async def answers(client: Client, expected: int) -> int:
    """How many answers stand, once they are as many as expected: a client hears one before its stream has stored it."""
    stream, end = client.subjects.stream(ANSWERS), time.monotonic() + ANSWERS_S
    while (count := await client.bus.messages(stream)) < expected and time.monotonic() < end:
        pass
    return count


@pytest.fixture(scope="session")
def echo_team(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LocalTeam:
    """One echo team for all folders of the run that import this fixture, up."""
    team = request.config.stash.get(_key, None)
    if team is None:
        team = request.config.stash[_key] = LocalTeam(tmp_path_factory.mktemp("echo") / "state")
        request.config.add_cleanup(lambda: end(team))
    team.ready()
    return team


@pytest.fixture
async def client(echo_team: LocalTeam) -> AsyncIterator[Client]:
    """A client of the echo team."""
    up = echo_team.ready()
    async with connect(up.nats_url, subjects=Subjects(up.root)) as found:
        yield found


def end(team: LocalTeam) -> None:
    """Ends the run's team; an error if it leaves anything behind."""
    if left := team.stop():
        names = [f"{process.pid} {process.name()}" for process in left]
        for process in left:
            process.kill()
        raise RuntimeError(f"left running: {', '.join(names)}")
