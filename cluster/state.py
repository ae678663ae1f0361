"""The state directory of a local team: who runs it, the broker's store, traces, logs.

up.json    the running team, written once it answers
lock       held by the process that runs it, for as long as it lives: the kernel lets go, however it ends
nats/      JetStream's files: accepted tasks survive the next `up`
traces/    spans, without an OTLP endpoint
logs/      what nats-server and Ray wrote
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from metier.topics.errors import AlreadyUp, NotUp


class Up(msgspec.Struct, frozen=True, kw_only=True):
    """A team that is up."""

    #: The process that runs it: SIGTERM ends all of it.
    pid: int
    nats_url: str
    nats_pid: int
    #: nats-server's own figures over HTTP, on the loopback.
    monitor_url: str = ""
    ray_address: str = ""
    #: The team file, absolute.
    team: str
    root: str
    started_at: dt.datetime


class State:
    """One state directory: the one given, else $METIER_DIRECTORY, else .metier in the current directory."""

    def __init__(self, directory: str | Path | None = None) -> None:
        self.path = Path(directory or os.environ.get("METIER_DIRECTORY") or ".metier").absolute()
        self.nats = self.path / "nats"
        self.traces = self.path / "traces"
        self.logs = self.path / "logs"
        self._up = self.path / "up.json"
        self._lock = self.path / "lock"

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Makes the directory this process's own. Raises AlreadyUp while another process has it."""
        for path in (self.path, self.nats, self.traces, self.logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyUp(directory=self.path, pid=self._lock.read_text().strip() or "starting") from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            self._up.unlink(missing_ok=True)
            try:
                yield
            finally:
                self._up.unlink(missing_ok=True)
                file.truncate(0)

    def write(self, up: Up) -> None:
        """Says that the team is up. For the process that claimed the directory."""
        new = self._up.with_suffix(".new")
        new.write_bytes(msgspec.json.format(msgspec.json.encode(up)))
        new.rename(self._up)

    def read(self) -> Up:
        """The team that is up. Raises NotUp; what a killed process left behind is removed."""
        try:
            up = msgspec.json.decode(self._up.read_bytes(), type=Up)
        except (FileNotFoundError, msgspec.MsgspecError):
            raise NotUp(directory=self.path) from None
        if not self._claimed():
            self._up.unlink(missing_ok=True)
            raise NotUp(directory=self.path)
        return up

    def _claimed(self) -> bool:
        """Whether a living process has the directory."""
        try:
            with self._lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False
