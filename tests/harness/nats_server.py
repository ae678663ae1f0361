"""A real nats-server with JetStream, on a free loopback port, in a directory of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metier.cluster.server import binary

_START_S = 10.0


class NatsServer:
    """A server that can be killed and started again on the same port and store."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when the port answers."""
        store = str(self.directory / "store")
        command = [str(binary()), "-js", "-a", "127.0.0.1", "-p", str(self.port), "-sd", store]
        with (self.directory / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        limit = time.monotonic() + _START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"nats-server did not start:\n{(self.directory / 'nats.log').read_text()}")
            time.sleep(0.02)  # noqa: TID251 - inside a wait for a condition, with a limit

    def stop(self) -> None:
        """Ends the server as an operator would."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(_START_S)
            self.process = None

    def kill(self) -> None:
        """Ends the server as a power cut would, the disk's own cache apart."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_START_S)
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """In it, the server reads and says nothing, and its connections stay."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False


@contextmanager
def nats_server(directory: Path) -> Iterator[NatsServer]:
    """A running server, ended on exit."""
    server = NatsServer(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
