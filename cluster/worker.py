"""The program that Ray starts for each worker of a local team: it asks the fork server for a process that is ready.

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

#: Where the fork server listens. When it is gone, the worker starts by itself: slower, otherwise the same.
ADDRESS = "METIER_FORK_SERVER"


def forked(address: str) -> bool:
    """Whether the fork server made this worker's process."""
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
    spec = importlib.util.find_spec("ray._private.workers.default_worker")
    assert spec is not None
    assert spec.origin is not None
    runpy.run_path(spec.origin, run_name="__main__")


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, whose names are nobody's top-level modules
    if ADDRESS not in os.environ or not forked(os.environ[ADDRESS]):
        run()
