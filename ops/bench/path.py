"""The way of a task with models that return at once, beside two others: handles without a bus, a bus without actors."""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from metier.cluster import local, telemetry
from metier.cluster import team as teams
from metier.cluster.state import Up
from metier.topics.client import Client, connect
from metier.topics.messages import State
from metier.topics.subjects import Subjects

from . import bare, figures, handles, processes
from .figures import Load, Side

TEAM = Path(__file__).parent / "team" / "team.yaml"
ONE = "Ask red for a weekend in Paris, leaving from London on Friday"
THREE = "Ask red green blue for a weekend in Paris, leaving from London on Friday"

WARM_UP, TASKS, ROUNDS = 200, 1000, 5
IN_FLIGHT = 64

Ask = Callable[[str], Awaitable[None]]
Tell = Callable[[str], None]


class _Counted(msgspec.Struct):
    """The part of /varz that is read."""

    in_msgs: int
    out_msgs: int


class Contender:
    """One way to do the task, and what was measured of it."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.seconds: dict[str, list[float]] = {ONE: [], THREE: []}
        self.done = 0
        self.loaded_s = 0.0
        self.cpu_s: dict[str, float] = {}

    async def one_by_one(self, text: str, count: int) -> None:
        """Tasks with one in flight."""
        for _ in range(count):
            began = time.perf_counter()
            await self.ask(text)
            self.seconds[text].append(time.perf_counter() - began)

    async def many(self, seconds: float, up: Up) -> None:
        """As many tasks as go with IN_FLIGHT in flight."""
        clock = processes.Clock(processes.named(up))
        began = time.perf_counter()

        async def ask_on() -> None:
            while time.perf_counter() - began < seconds:
                await self.ask(THREE)
                self.done += 1

        await asyncio.gather(*(ask_on() for _ in range(IN_FLIGHT)))
        self.loaded_s += time.perf_counter() - began
        for name, used in clock.used_s().items():
            self.cpu_s[name] = self.cpu_s.get(name, 0.0) + used

    def side(self) -> Side:
        """What was measured."""
        cpu_ms = {name: round(1000 * used / self.done, 3) for name, used in self.cpu_s.items()}
        return Side(
            one=figures.latency(self.seconds[ONE]),
            three=figures.latency(self.seconds[THREE]),
            load=Load(
                in_flight=IN_FLIGHT,
                tasks=self.done,
                seconds=round(self.loaded_s, 2),
                per_s=round(self.done / self.loaded_s, 1),
                cpu_ms={name: used for name, used in cpu_ms.items() if used >= 0.005},
            ),
        )


async def measure(seconds: float, tell: Tell) -> figures.Path:
    """All contenders in turns, on one broker and one Ray. `seconds` of load for each."""
    async with AsyncExitStack() as stack:
        tell("starting the bench team")
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="metier-bench-"))
        team = teams.read(TEAM)
        # In this process: handles need the Ray that Metier runs on.
        up = await stack.enter_async_context(local.up(team, file=TEAM, directory=directory, port=0))
        telemetry.setup(service="client", telemetry=team.telemetry, directory=directory)
        stack.callback(telemetry.shutdown)
        client = await stack.enter_async_context(connect(up.nats_url, subjects=Subjects(up.root)))
        tell("watching one task")
        tasks = {text: await bare.watch(up.nats_url, client, text) for text in (ONE, THREE)}
        tell("deploying the same graph as handles")
        asks: dict[str, Any] = {
            "metier": _asking(client),
            "handles": await stack.enter_async_context(handles.deployed()),
            "nats_py": await stack.enter_async_context(bare.nats_py(up.nats_url, tasks)),
            "adapter": await stack.enter_async_context(bare.adapter(up.nats_url, tasks)),
        }
        contenders = {name: Contender(ask) for name, ask in asks.items()}
        await _in_turns(contenders, tell)
        counted = await _loaded(contenders, up, seconds, tell)
        done = contenders["metier"].done
        traffic = bare.traffic(tasks[THREE], counted.in_msgs / done, counted.out_msgs / done)
        return figures.Path(**{name: contender.side() for name, contender in contenders.items()}, traffic=traffic)


def _asking(client: Client) -> Ask:
    async def ask(text: str) -> None:
        answer = await client.ask(text)
        assert answer.status is State.OK, answer

    return ask


async def _in_turns(contenders: dict[str, Contender], tell: Tell) -> None:
    for name, contender in contenders.items():
        tell(f"warming up: {name}")
        for text in (ONE, THREE):
            for _ in range(WARM_UP // 2):
                await contender.ask(text)
    for round_ in range(ROUNDS):
        for name, contender in contenders.items():
            tell(f"one in flight: {name}, round {round_ + 1} of {ROUNDS}")
            for text in (ONE, THREE):
                await contender.one_by_one(text, TASKS // ROUNDS)


async def _loaded(contenders: dict[str, Contender], up: Up, seconds: float, tell: Tell) -> _Counted:
    """Loads each in two turns; returns what the server counted meanwhile for Metier's own."""
    total = _Counted(0, 0)
    for half in range(2):
        for name, contender in contenders.items():
            tell(f"{IN_FLIGHT} in flight: {name}, turn {half + 1} of 2")
            before = await _counted(up)
            await contender.many(seconds / 2, up)
            after = await _counted(up)
            if name == "metier":
                total.in_msgs += after.in_msgs - before.in_msgs
                total.out_msgs += after.out_msgs - before.out_msgs
    return total


async def _counted(up: Up) -> _Counted:
    def read() -> bytes:
        with urllib.request.urlopen(f"{up.monitor_url}/varz") as reply:
            content: bytes = reply.read()
        return content

    return msgspec.json.decode(await asyncio.to_thread(read), type=_Counted)
