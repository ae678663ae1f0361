"""How soon a team follows its work: from no replica to the first answer, and from a flood to the decision to grow."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from metier.cluster import local
from metier.cluster import team as teams
from metier.cluster.commands.session import TRIP
from metier.cluster.sizing import Decision, decision_key
from metier.cluster.team import Replicas, Team
from metier.topics.client import Client, connect
from metier.topics.errors import Unavailable
from metier.topics.messages import State
from metier.topics.subjects import Subjects

from .figures import Elastic
from .rounds import Tell

#: One request for each specialist that starts from nothing.
ASKED = {
    "flights": "Find a flight from London to Paris on Friday",
    "hotels": "Find me a hotel in Lyon for two nights from Friday",
    "guide": "What can I see in Madrid on Saturday?",
    "weather": "What will the weather be in Nice on Saturday?",
    "calendar": "Add a meeting with Anna on Tuesday at three to my calendar",
}
#: The model of those specialists in the trip team's file.
MODEL = "pointer"
LIMIT_S = 60.0
FLOOD = 300
ELASTIC = Replicas(min=0, max=2, target_wait_s=0.5)


async def measure(tell: Tell) -> Elastic:
    """Three teams, one after the other. Raises Unavailable if a task does not end well."""
    team = teams.read(TRIP)
    tell("from nothing, the model shared")
    shared = await _from_nothing(_with(team, dict.fromkeys(ASKED, ELASTIC)))
    tell("from nothing, the model inside")
    model = msgspec.structs.replace(team.models[MODEL], placement="inside")
    inside = msgspec.structs.replace(team, models={**team.models, MODEL: model})
    own = await _from_nothing(_with(inside, dict.fromkeys(ASKED, ELASTIC)))
    tell("a flood")
    flooded = _with(team, {"flights": msgspec.structs.replace(ELASTIC, min=1)})
    return Elastic(
        samples=len(ASKED),
        shared_s=round(statistics.median(shared), 2),
        own_s=round(statistics.median(own), 2),
        slowest_s=round(max(own), 2),
        flood=FLOOD,
        decided_s=round(await _decided(flooded), 2),
    )


def _with(team: Team, replicas: Mapping[str, Replicas]) -> Team:
    changed = {
        name: msgspec.structs.replace(team.specialists[name], replicas=wanted) for name, wanted in replicas.items()
    }
    return msgspec.structs.replace(team, specialists={**team.specialists, **changed})


@asynccontextmanager
async def _running(team: Team) -> AsyncIterator[Client]:
    with tempfile.TemporaryDirectory(prefix="metier-bench-") as folder:
        async with (
            local.up(team, file=TRIP, directory=Path(folder), port=0) as up,
            connect(up.nats_url, subjects=Subjects(up.root)) as client,
        ):
            yield client


async def _from_nothing(team: Team) -> list[float]:
    """Seconds from a task to its answer, of specialists that have no replica when it comes."""
    async with _running(team) as client:
        return [await _answered(client, text) for text in ASKED.values()]


async def _answered(client: Client, text: str) -> float:
    began = time.perf_counter()
    answer = await client.ask(text, deadline_s=LIMIT_S)
    if answer.status is not State.OK:
        raise Unavailable(what=f"the answer to {text!r}", reason=f"{answer.status}: {answer.text}")
    return time.perf_counter() - began


async def _decided(team: Team) -> float:
    """Seconds from the first of many tasks to the decision that the specialist has another replica."""
    async with _running(team) as client:
        await _answered(client, ASKED["flights"])
        began = time.perf_counter()
        sent: list[asyncio.Task[Any]] = [
            asyncio.create_task(client.submit(ASKED["flights"], deadline_s=LIMIT_S)) for _ in range(FLOOD)
        ]
        async with asyncio.timeout(LIMIT_S):
            while await _wanted(client) < ELASTIC.max:  # noqa: ASYNC110 - another process's decision
                await asyncio.sleep(0.02)
        took_s = time.perf_counter() - began
        await asyncio.gather(*sent)
        return took_s


async def _wanted(client: Client) -> int:
    entry = await client.bus.read(decision_key("flights"))
    return msgspec.json.decode(entry.value, type=Decision).replicas if entry else 0
