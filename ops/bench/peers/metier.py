"""Metier itself: a bench team with as many replicas of each actor as are asked for, and a client that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from metier.cluster import local, telemetry
from metier.cluster import team as teams
from metier.cluster.team import Replicas, Team
from metier.topics.client import Client, connect
from metier.topics.messages import State
from metier.topics.subjects import Subjects
from ops.bench import bare, processes
from ops.bench.contender import ONE, THREE, Ready, Started
from ops.bench.load import Ask

TEAMS = Path(__file__).parents[1] / "team"
#: All replicas must be there by then.
START_S = 60.0
KEPT = "tasks, results and the plan: on disk, acknowledged when handled"


@asynccontextmanager
async def started(
    *, directory: Path, team: str = "team.yaml", replicas: int = 1, traffic: bool = False
) -> AsyncIterator[Started]:
    """Up, and asked through `metier.topics.client`; with `traffic`, what a task is on the broker, too."""
    file = TEAMS / team
    wanted = replicated(teams.read(file), replicas)
    async with AsyncExitStack() as stack:
        up = await stack.enter_async_context(local.up(wanted, file=file, directory=directory, port=0))
        await _running(replicas)
        telemetry.setup(service="client", telemetry=wanted.telemetry, directory=str(directory))
        stack.callback(telemetry.shutdown)
        client = await stack.enter_async_context(connect(up.nats_url, subjects=Subjects(up.root)))
        asks = {"": _asking(client)}
        told: dict[str, Any] = {}
        if traffic:
            tasks = {text: await bare.watch(up.nats_url, client, text) for text in (ONE, THREE)}
            asks["nats-py"] = await stack.enter_async_context(bare.nats_py(up.nats_url, tasks))
            asks["adapter"] = await stack.enter_async_context(bare.adapter(up.nats_url, tasks))
            told = msgspec.to_builtins(bare.traffic(tasks[THREE]))
        yield Started(
            Ready(durable="yes", kept=KEPT, monitor_url=up.monitor_url, told=told), asks, lambda: processes.grouped(up)
        )


async def _running(number: int) -> None:
    """Waits until every actor has that many replicas: a team is up when each has one."""
    from ray import serve
    from ray.serve._private.common import ReplicaState

    def complete() -> bool:
        deployments = [each for app in serve.status().applications.values() for each in app.deployments.values()]
        return all(each.replica_states.get(ReplicaState.RUNNING) == number for each in deployments)

    async with asyncio.timeout(START_S):
        while not await asyncio.to_thread(complete):  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(0.1)


def replicated(team: Team, number: int) -> Team:
    """The team with that many processes of each actor, from the first moment on."""
    replicas = Replicas(min=number, max=number)
    return msgspec.structs.replace(
        team,
        router=msgspec.structs.replace(team.router, replicas=replicas),
        aggregator=msgspec.structs.replace(team.aggregator, replicas=replicas),
        specialists={
            name: msgspec.structs.replace(specialist, replicas=replicas)
            for name, specialist in team.specialists.items()
        },
    )


def _asking(client: Client) -> Ask:
    async def ask(text: str) -> None:
        answer = await client.ask(text)
        assert answer.status is State.OK, answer

    return ask
