"""The fork server: a worker is the program that Ray asked for, whoever started its process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from harness.local_team import LocalTeam, until
from metier.cluster import worker
from metier.cluster.forkserver import fork_servers
from metier.topics.client import Client

LIMIT_S = 30.0


async def run(servers: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A worker, started as Ray starts it; what it wrote, once the last process that writes there has ended."""
    environment = os.environ | {worker.SERVERS: servers}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, worker.__file__, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def made(**context: object) -> list[str]:
    """What Ray gives the program that makes the runtime environment of a worker."""
    about: dict[str, object] = {
        "command_prefix": [],
        "env_vars": {},
        "py_executable": sys.executable,
        "override_worker_entrypoint": None,
    }
    return [worker.__file__, "--language=PYTHON", f"--serialized-runtime-env-context={json.dumps(about | context)}"]


async def test_a_forked_worker_has_the_arguments_and_the_streams_of_the_one_that_asked() -> None:
    async with fork_servers(worker.LIGHT) as servers:
        helped, refused = await run(servers, "--help"), await run(servers, "--nonsense")

    assert "--raylet-name" in helped.stdout
    assert "" == helped.stderr
    assert "the following arguments are required" in refused.stderr


async def test_an_actor_with_a_model_asks_the_server_that_has_what_models_need() -> None:
    others = set(psutil.Process().children(recursive=True))
    async with fork_servers(worker.LIGHT, worker.MODEL) as servers:
        for kind in (worker.LIGHT, worker.MODEL):
            asked = await run(servers, *made(env_vars={worker.KIND: kind}), "--help")
            assert "--raylet-name" in asked.stdout
            assert "" == asked.stderr
        started = set(psutil.Process().children(recursive=True)) - others
        holding = [process for process in started if maps(process, "torch")]

    assert 1 == len(holding)


async def test_an_environment_that_is_not_metiers_is_made_by_ray() -> None:
    async with fork_servers(worker.LIGHT) as servers:
        asked = await run(servers, *made(command_prefix=["echo", "before", "&&"]), "--nonsense")

    assert asked.stdout.startswith("before")
    assert "the following arguments are required" in asked.stderr


async def test_a_worker_that_is_killed_while_it_asks_harms_no_other() -> None:
    async with fork_servers(worker.LIGHT) as servers:
        address = str(Path(servers) / worker.LIGHT)
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(address)
            socket.send_fds(door, [b"\n"], [0, 1, 2])
            door.sendall(b'{"arguments": ["--he')
        with socket.socket(socket.AF_UNIX) as door:
            door.connect(address)
        helped = await run(servers, "--help")

    assert "--raylet-name" in helped.stdout
    assert "" == helped.stderr


async def test_without_its_fork_server_a_worker_starts_by_itself_and_says_so(tmp_path: Path) -> None:
    helped = await run(str(tmp_path), "--help")

    assert "--raylet-name" in helped.stdout
    assert f"the fork server at {tmp_path / worker.LIGHT} does not answer, the worker starts by itself" in helped.stderr


def test_a_fork_server_goes_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = f"""
import asyncio, os, signal
from metier.cluster.forkserver import fork_servers

async def main():
    async with fork_servers("light", "model") as servers:
        open({str(tmp_path / "servers")!r}, "w").write(servers)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    subprocess.run([sys.executable, "-c", code], timeout=LIMIT_S, check=False)
    servers = (tmp_path / "servers").read_text()

    until(lambda: not listening(servers), LIMIT_S, "nobody listens")


def listening(servers: str) -> bool:
    """Whether a process holds a socket of the folder."""
    return any(servers in line for line in Path("/proc/net/unix").read_text().splitlines())


async def test_every_worker_of_a_team_is_a_fork(client: Client, echo_team: LocalTeam) -> None:
    server = echo_team.part("metier.cluster.forkserver")

    for name in ("router", "one", "aggregator", "model-echo"):
        replica = echo_team.replica(name)
        assert replica is not None
        assert server == replica.parent()


@pytest.mark.parametrize("module", ["ray", "torch"])
async def test_a_fork_server_does_not_hold(module: str, client: Client, echo_team: LocalTeam) -> None:
    server = echo_team.part("metier.cluster.forkserver")

    assert not maps(server, module)


def maps(process: psutil.Process, module: str) -> bool:
    """Whether a process has a module's native library."""
    return any(f"/{module}/" in part.path for part in process.memory_maps())
