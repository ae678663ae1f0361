"""The fork server: a worker is the program that Ray asked for, whoever started its process."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.local_team import LocalTeam, until
from metier.cluster import worker
from metier.cluster.forkserver import fork_server
from metier.topics.client import Client

LIMIT_S = 30.0


async def run(address: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A worker, started as Ray starts it; what it wrote, once the last process that writes there has ended."""
    environment = os.environ | {worker.ADDRESS: address}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, worker.__file__, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


async def test_a_forked_worker_has_the_arguments_and_the_streams_of_the_one_that_asked() -> None:
    async with fork_server() as address:
        helped, refused = await run(address, "--help"), await run(address, "--nonsense")

    assert "--raylet-name" in helped.stdout
    assert "" == helped.stderr
    assert "the following arguments are required" in refused.stderr


async def test_a_worker_that_is_killed_while_it_asks_harms_no_other() -> None:
    async with fork_server() as address:
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(address)
            socket.send_fds(door, [b"\n"], [0, 1, 2])
            door.sendall(b'{"arguments": ["--he')
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(address)
        helped = await run(address, "--help")

    assert "--raylet-name" in helped.stdout
    assert "" == helped.stderr


async def test_without_its_fork_server_a_worker_starts_by_itself_and_says_so(tmp_path: Path) -> None:
    address = str(tmp_path / "nobody")

    helped = await run(address, "--help")

    assert "--raylet-name" in helped.stdout
    assert f"the fork server at {address} does not answer, the worker starts by itself" in helped.stderr


def test_a_fork_server_goes_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, signal
from metier.cluster.forkserver import fork_server

async def main():
    async with fork_server() as address:
        open({str(tmp_path / "address")!r}, "w").write(address)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], timeout=LIMIT_S, check=False)
    address = (tmp_path / "address").read_text()

    until(lambda: not listening(address), LIMIT_S, "nobody listens")


def listening(address: str) -> bool:
    """Whether a process holds the socket."""
    return any(address in line for line in Path("/proc/net/unix").read_text().splitlines())


async def test_every_worker_of_a_team_is_a_fork(client: Client, echo_team: LocalTeam) -> None:
    server = echo_team.part("metier.cluster.forkserver")

    for name in ("router", "one", "aggregator", "model-echo"):
        replica = echo_team.replica(name)
        assert replica is not None
        assert server == replica.parent()


@pytest.mark.parametrize("module", ["ray", "torch"])
async def test_a_fork_server_does_not_hold(module: str, client: Client, echo_team: LocalTeam) -> None:
    server = echo_team.part("metier.cluster.forkserver")

    assert not [part for part in server.memory_maps() if f"/{module}/" in part.path]
