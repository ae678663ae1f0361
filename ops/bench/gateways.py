"""A gateway in a process of its own, and plain HTTP/1.1: a library would add its own milliseconds."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil  # type: ignore[import-untyped]

from metier.topics.errors import Unavailable


class Http:
    """One connection to a gateway."""

    def __init__(self, address: str) -> None:
        self._host, self._port = urlsplit(address).hostname, urlsplit(address).port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> Http:
        """Connects."""
        self.reader, self.writer = await asyncio.open_connection(self._host, self._port)
        return self

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Sends a request; underscores in the names of headers stand for dashes."""
        content = b"" if body is None else msgspec.json.encode(body)
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(content)}\r\n"
        head += "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + content)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and body."""
        self.send(method, path, body, **headers)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return int(head[9:12]), msgspec.json.decode(await self.reader.readexactly(length))

    async def opened(self, path: str, **headers: str) -> bool:
        """Whether a stream of events began; if not, the gateway cannot now."""
        self.send("GET", path, **headers)
        return (await self.reader.readuntil(b"\r\n\r\n"))[9:12] == b"200"

    async def event(self) -> tuple[str, str]:
        """Id and name of the next event of the stream that was opened."""
        while True:
            block = await self.reader.readuntil(b"\n\n")
            if b"event: " not in block:
                continue
            fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if ": " in line)
            return fields["id"], fields["event"]

    def close(self) -> None:
        """Leaves."""
        self.writer.close()


class Gateway:
    """`metier gateway`, which can be killed and started again on its port."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._process: asyncio.subprocess.Process
        self.port = 0

    @property
    def address(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> psutil.Process:
        """The process, to be looked at."""
        return psutil.Process(self._process.pid)

    async def start(self) -> None:
        """Returns when it is ready."""
        command = ("gateway", "--port", str(self.port), "--json", *self._options)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "metier.cluster.cli", *command),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert self._process.stdout
        if not (line := await self._process.stdout.readline()):
            raise Unavailable(what="the gateway", reason=f"it ended with status {await self._process.wait()}")
        self.port = int(msgspec.json.decode(line)["url"].rpartition(":")[2])
        http = await Http(self.address).open()
        while (await http.ask("GET", "/readyz"))[0] != 200:  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.05)
        http.close()

    async def kill(self) -> None:
        """Ends it at once."""
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Ends it in order."""
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()


@asynccontextmanager
async def gateway(url: str, streams: int, *more: str) -> AsyncIterator[Gateway]:
    """A gateway on a broker, that takes so many streams and a few more."""
    running = Gateway("--nats", url, "--streams", str(streams + 100), *more)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
