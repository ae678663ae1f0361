"""A way from this machine to a port of another host: it listens here and connects from there.

A socket stays in the network that it was made in: the one that listens is made here, and handed to a process there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it is a program, too
    from harness.hosts import Host

_END_S = 10.0


@contextmanager
def relay(host: Host, address: str, port: int) -> Iterator[int]:
    """The port of loopback that leads, by way of a host, to an address that the host reaches."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        here: int = listener.getsockname()[1]
        number = listener.fileno()
        command = host.enter([sys.executable, __file__, str(number), address, str(port)])
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[number])
    try:
        yield here
    finally:
        process.communicate(timeout=_END_S)


async def _serve(listener: socket.socket, address: str, port: int) -> None:
    async def accepted(near: asyncio.StreamReader, out: asyncio.StreamWriter) -> None:
        try:
            far, forth = await asyncio.open_connection(address, port)
        except OSError:
            out.close()
            return
        await asyncio.gather(passing(near, forth), passing(far, out))

    server = await asyncio.start_server(accepted, sock=listener)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)  # until who started it says so, or ends
        os._exit(0)  # whatever is on its way


async def passing(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Passes on what comes until it ends, and that it has."""
    with contextlib.suppress(OSError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


if __name__ == "__main__":
    asyncio.run(_serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
