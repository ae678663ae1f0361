"""The program that Ray starts for each worker of a local team: it asks a fork server for a process that is ready.

Run as a script, by path: nothing is imported that the fork server has imported already.
"""

from __future__ import annotations

import importlib.util
import json
import os
import runpy
import socket
import sys
from pathlib import Path

#: The folder where the fork servers listen. When they are gone, a worker starts by itself: slower, otherwise the same.
SERVERS = "METIER_FORK_SERVERS"
#: Which of them a worker asks, in the environment of an actor that needs another than the first.
KIND = "METIER_WORKER"
LIGHT, MODEL = "light", "model"

_CONTEXT = "--serialized-runtime-env-context="
_LANGUAGE = "--language="


def prepared(arguments: list[str]) -> list[str]:
    """The worker's arguments, of those that Ray gives the program that makes an actor's environment first.

    Here that is nothing, or one variable. Whatever else it may be, Ray's own program makes it, which imports all of Ray
    to do so, and starts this one again.
    """
    context = json.loads(next((a.removeprefix(_CONTEXT) for a in arguments if a.startswith(_CONTEXT)), "{}"))
    variables = context.pop("env_vars", {})
    if set(variables) - {KIND} or any(value for name, value in context.items() if name != "py_executable"):
        os.execv(sys.executable, [sys.executable, _of_ray("setup_worker.py"), *arguments])
    os.environ.update(variables)
    return [a for a in arguments[1:] if not a.startswith((_CONTEXT, _LANGUAGE))]


def forked(folder: str) -> bool:
    """Whether a fork server made this worker's process."""
    address = str(Path(folder) / os.environ.get(KIND, LIGHT))
    request = json.dumps({"arguments": sys.argv[1:], "environment": dict(os.environ), "directory": str(Path.cwd())})
    try:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(address)
            socket.send_fds(door, [b"\n"], [0, 1, 2])
            door.sendall(request.encode())
            door.shutdown(socket.SHUT_WR)
            return bool(door.recv(1))
    except OSError as error:
        sys.stderr.write(f"the fork server at {address} does not answer, the worker starts by itself: {error}\n")
        return False


def run() -> None:
    """Ray's own worker program, with the arguments of this process."""
    runpy.run_path(_of_ray("default_worker.py"), run_name="__main__")


def _of_ray(program: str) -> str:
    """Where a program of Ray's lies, without importing Ray."""
    ray = importlib.util.find_spec("ray")
    assert ray is not None
    assert ray.origin is not None
    return str(Path(ray.origin).parent / "_private" / "workers" / program)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, whose names are nobody's top-level modules
    if sys.argv[1:2] == [__file__]:  # as the program that makes the environment
        sys.argv[1:] = prepared(sys.argv[1:])
    if SERVERS not in os.environ or not forked(os.environ[SERVERS]):
        run()
