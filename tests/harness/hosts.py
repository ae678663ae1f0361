"""Several hosts on this machine, each with an address of its own, that can be killed and cut off.

A host is a network namespace with a process table of its own, wired to a switch by a veth pair, where the kernel
permits it: to root, or to anybody inside a user namespace. Where it does not, a host is an address of loopback, and who
is cut off is stopped instead (`addresses.py`). In CI, namespaces are insisted upon.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import psutil  # type: ignore[import-untyped]

from harness.addresses import LoopbackNetwork
from metier.cluster import processes

START_S = 20.0
END_S = 20.0

#: The first process of a host: it buries the orphans, and all others die with it.
_INIT = "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint(flush=True)\nwhile True: signal.pause()"
_SWITCH = "import signal\nprint(flush=True)\nwhile True: signal.pause()"


class RefusedError(Exception):
    """This machine makes no namespaces for this user."""


class Host(Protocol):
    """A machine of its own, as far as what runs on it can tell."""

    name: str
    address: str
    #: What runs on it runs on while it is cut off.
    works_alone: bool

    def start(self, command: Sequence[str], environment: Mapping[str, str], said: Path) -> subprocess.Popen[bytes]:
        """A process on it, which says what it has to say into a file."""
        ...

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command as it is typed here to run there."""
        ...

    def cut(self) -> None:
        """Nothing reaches it any more, and nothing comes from it."""
        ...

    def heal(self) -> None:
        """It is reached again."""
        ...

    def kill(self) -> None:
        """Ends all that runs on it, at once."""
        ...

    def boot(self) -> None:
        """It is there again after a `kill`, with nothing running on it."""
        ...


class Network(Protocol):
    """Hosts that reach each other."""

    #: What its hosts are, for a person to read.
    kind: str

    def host(self, name: str, number: int) -> Host:
        """One more host."""
        ...


class Namespace:
    """A host that the kernel keeps apart from all others."""

    works_alone = True

    def __init__(self, switch: _Switch, name: str, number: int) -> None:
        self.name = name
        self.address = f"10.77.0.{number}"
        self._switch = switch
        self._life: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._started: list[subprocess.Popen[bytes]] = []
        self.boot()

    def boot(self) -> None:
        apart = ["unshare", "--net", "--pid", "--mount-proc", "--fork", "--kill-child"]
        self._life = _begun([*self._switch.enter(), *apart, sys.executable, "-c", _INIT])
        (init,) = psutil.Process(self._life.pid).children()
        self._init = init.pid
        self._switch.wire(self.name, self._init)
        for line in (
            "ip link set lo up",
            f"ip address add {self.address}/24 dev eth0",
            "ip link set eth0 up",
            "ip route add default dev eth0",  # without a way out, a program does not find out its own address
        ):
            _done(self.enter(line.split()))

    def start(self, command: Sequence[str], environment: Mapping[str, str], said: Path) -> subprocess.Popen[bytes]:
        env = {**os.environ, **environment}
        with said.open("ab") as out:
            process = subprocess.Popen(self.enter(command), env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._started.append(process)
        return process

    def enter(self, command: Sequence[str]) -> list[str]:
        into = ["nsenter", "--target", str(self._init), *self._switch.user, "--net", "--pid", "--mount"]
        return [*into, f"--wd={Path.cwd()}", *command]

    def cut(self) -> None:
        self._switch.set(self.name, "down")

    def heal(self) -> None:
        self._switch.set(self.name, "up")

    def kill(self) -> None:
        """As a power cut does: nobody hears of it. The kernel ends all of a process table together with its first."""
        if self._life is not None:
            self._switch.unplug(self.name)
            os.kill(self._init, signal.SIGKILL)
            for process in (self._life, *self._started):
                process.wait(END_S)
            self._life = None
            self._started.clear()


class _Switch:
    """The namespace of the bridge that all hosts hang on."""

    def __init__(self, user: Sequence[str]) -> None:
        self.kind = "network namespaces" + (" in a user namespace" if user else "")
        #: Options to enter the user namespace, if there is one.
        self.user = list(user)
        self._hosts: list[Namespace] = []
        apart = ["unshare", "--net", *(("--user", "--map-root-user") if user else ())]
        self._life = _begun([*apart, sys.executable, "-c", _SWITCH])
        try:
            _done(self.enter(["ip", "link", "add", "name", "switch", "type", "bridge"]))
            _done(self.enter(["ip", "link", "set", "switch", "up"]))
        except RefusedError:
            self.end()
            raise

    def host(self, name: str, number: int) -> Namespace:
        found = Namespace(self, name, number)
        self._hosts.append(found)
        return found

    def enter(self, command: Sequence[str] = ()) -> list[str]:
        return ["nsenter", "--target", str(self._life.pid), *self.user, "--net", *command]

    def wire(self, port: str, pid: int) -> None:
        """A cable from a port to the namespace of a process, where its end is called eth0."""
        pair = f"ip link add name {port} type veth peer name eth0 netns {pid}"
        for line in (pair, f"ip link set dev {port} master switch", f"ip link set dev {port} up"):
            _done(self.enter(line.split()))

    def unplug(self, port: str) -> None:
        _done(self.enter(["ip", "link", "delete", "dev", port]))

    def set(self, port: str, state: str) -> None:
        _done(self.enter(["ip", "link", "set", "dev", port, state]))

    def end(self) -> None:
        for host in self._hosts:
            host.kill()
        self._life.kill()
        self._life.wait(END_S)


@contextmanager
def network() -> Iterator[Network]:
    """Hosts are made on it, and all end with it. Raises RefusedError in CI where there are no namespaces."""
    with ExitStack() as stack:
        try:
            made: _Switch | LoopbackNetwork = _switch()
        except RefusedError as refused:
            if os.environ.get("CI"):
                raise
            made = LoopbackNetwork(str(refused))
        stack.callback(made.end)
        yield made


def _switch() -> _Switch:
    """Root may do without a user namespace, everybody else is root inside one. Raises RefusedError."""
    trouble = RefusedError()
    for user in ([], ["--user", "--preserve-credentials"]):
        switch = None
        try:
            switch = _Switch(user)
            switch.host("probe", 250).kill()
        except RefusedError as refused:
            trouble = refused
            if switch is not None:
                switch.end()
        else:
            return switch
    raise trouble


def _begun(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """A process that has said that it runs, and dies with this one. Raises RefusedError."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=processes.die_with_parent,  # noqa: PLW1509 - one call of the kernel's, which takes no lock
        )
    except FileNotFoundError as error:
        raise RefusedError(str(error)) from error
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr:
        if not process.stdout.readline():
            process.wait(START_S)
            raise RefusedError(process.stderr.read().decode().strip())
    return process


def _done(command: Sequence[str]) -> None:
    """Runs a command to its end. Raises RefusedError with what it said."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=START_S, check=False
        )
    except FileNotFoundError as error:
        raise RefusedError(str(error)) from error
    if done.returncode:
        raise RefusedError(f"{' '.join(command)}: {done.stderr.strip()}")
