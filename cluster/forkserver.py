"""A process that has imported what every worker imports, and forks itself for each of them.

Ray starts a Python for each worker, and each spends a second of a core on the same imports, or five if it has a model.
Here they are done once, and the workers share the memory that they fill. As Python's own `multiprocessing` does with
its forkserver: https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods

A second one, forked from the first, has imported what runs models too; the others start without waiting for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from . import processes, worker

#: What every worker imports besides Ray: Ray's own dependencies, and what light actors need. Not Ray itself, whose
#: native library reads the environment and seeds its identifiers when it is loaded; no torch; nothing that starts a
#: thread, which a fork would lose.
MODULES = (
    "numpy",
    "grpc_reflection.v1alpha.reflection",
    "google.protobuf.json_format",
    "requests",
    "jsonschema",
    "aiohttp.web",
    "fastapi",
    "uvicorn",
    "watchfiles",
    "yaml",
    "tqdm",
    "psutil",
    "metier.cluster.replica",
    "metier.cluster.telemetry",
)

#: What a worker with a model imports besides.
MODEL_MODULES = (
    "torch",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert",
    "transformers.models.llama.modeling_llama",
    "peft",
    "metier.actors.engines.decoding",
    "metier.actors.engines.grammar",
    "metier.actors.engines.packing",
    "metier.actors.engines.pointing",
)

STOP_LIMIT_S = 5.0


class Request(NamedTuple):
    """What a worker asks for: its arguments, environment, working directory and three streams."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    streams: list[int]


@asynccontextmanager
async def fork_servers(*kinds: str) -> AsyncIterator[str]:
    """The folder of running ones, one for each kind: `worker.LIGHT`, or that and `worker.MODEL`.

    On exit, or when this process dies, they go, and their workers with them.
    """
    with tempfile.TemporaryDirectory(prefix="metier-") as folder, contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(_listening(str(Path(folder) / kind))) for kind in kinds]
        numbers = [listener.fileno() for listener in listeners]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __spec__.name,
            *map(str, numbers),
            stdin=asyncio.subprocess.PIPE,
            pass_fds=numbers,
            start_new_session=True,
        )
        stack.close()
        try:
            yield folder
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                async with asyncio.timeout(STOP_LIMIT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def _listening(address: str) -> socket.socket:
    """Workers may ask before a server has imported anything: they wait in the queue of the socket."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(128)
    return listener


def serve(listener: socket.socket) -> Request:
    """Forks for each request; in the child, returns it. Ends when standard input does."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries those that end
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in ready:
            sys.exit()
        door, _ = listener.accept()
        with door, contextlib.suppress(OSError, ValueError):  # a worker that was killed while it asked
            request = _read(door)
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                processes.die_with_parent()
                os.setpgid(0, 0)  # Ray ends a worker together with its process group
                return request
            door.sendall(b"1")
            for stream in request.streams:
                os.close(stream)


def become(request: Request) -> None:
    """Goes on as the worker that was asked for. Does not return."""
    for number, stream in enumerate(request.streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(request.environment)
    sys.argv[1:] = request.arguments
    worker.run()


def _read(door: socket.socket) -> Request:
    _, streams, _, _ = socket.recv_fds(door, 1, 3)
    with door.makefile("rb") as file:
        return Request(streams=streams, **json.load(file))


def main(light: socket.socket, model: socket.socket | None = None) -> None:
    """Serves until standard input ends; in a worker, goes on as that."""
    for name in MODULES:
        importlib.import_module(name)
    if model and os.fork() == 0:
        processes.die_with_parent()
        light.close()
        for name in MODEL_MODULES:
            with contextlib.suppress(ImportError):  # who needs it, and lacks it, says so better
                importlib.import_module(name)
        light = model
    elif model:
        model.close()
    gc.freeze()  # a collection would write to every object, and a page that is written is no longer shared
    become(serve(light))


if __name__ == "__main__":
    main(*(socket.socket(fileno=int(number)) for number in sys.argv[1:]))
