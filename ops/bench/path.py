"""The way of a task with models that return at once: Metier, its variants, no bus but handles, a bus without actors."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from . import figures
from .contender import CHAIN, ONE, THREE, Order
from .figures import Cell, Traffic
from .peers import handles
from .remote import Contender, Running
from .rounds import Entrant, Outcome, Tell, in_turns, medians, stretch

TEAM = Path(__file__).parent / "team" / "team.yaml"
TEXTS = {"one": ONE, "three": THREE, "chain": CHAIN}

ROUNDS = 3
#: What contenders are compared by.
COMPARED = (("one", 1), ("three", 1), ("three", 64))
#: How many at a time, beside those.
LEVELS = (1, 16, 256)
#: Of the most tasks a second: what the open loop asks for.
SHARE = 0.8
#: Replicas of each actor, beside one.
REPLICAS = (2, 4)


async def measure(seconds: float, rounds: int, tell: Tell) -> figures.Path:
    """All contenders in turns; `seconds` for each figure, over all rounds. Raises Unavailable if one fails."""
    counted: list[tuple[float, float]] = []
    outcomes = await in_turns(entrants(seconds / rounds, counted), rounds, tell)
    for outcome in outcomes.values():
        if outcome.failed:
            raise outcome.failed
    contenders = {name: medians(outcome.rounds) for name, outcome in outcomes.items()}
    for way in ("nats-py", "adapter"):
        contenders[way] = [each for each in contenders["Metier"] if each.way == way]
    contenders["Metier"] = [each for each in contenders["Metier"] if not each.way]
    return figures.Path(rounds=rounds, contenders=contenders, traffic=_traffic(outcomes["Metier"], counted))


def entrants(seconds: float, counted: list[tuple[float, float]]) -> dict[str, Entrant]:
    """Who takes part; `seconds` for each figure in each round. What Metier's broker counted is added to `counted`."""
    wider = (*COMPARED, ("three", 16), ("three", 256))
    several = {
        f"{number} replicas": _entrant(Contender(kind="metier", options={"replicas": number}), wider, seconds)
        for number in REPLICAS
    }
    return {
        "Metier": Entrant(
            contender=Contender(kind="metier", options={"traffic": True}),
            course=partial(_course, seconds, counted),
            texts=(ONE, THREE),
        ),
        "a chain of three": Entrant(
            contender=Contender(kind="metier", options={"team": "chain.yaml"}),
            course=partial(_cells, [("chain", level) for level in LEVELS], seconds),
            texts=(CHAIN,),
        ),
        "tracing off": _entrant(Contender(kind="metier", environment={"OTEL_SDK_DISABLED": "true"}), COMPARED, seconds),
        **several,
        "handles": _entrant(Contender(kind="handles"), COMPARED, seconds),
        "handles, fastest": _entrant(Contender(kind="handles", environment=handles.FASTEST), COMPARED, seconds),
    }


def _entrant(contender: Contender, cells: Sequence[tuple[str, int]], seconds: float) -> Entrant:
    return Entrant(contender=contender, course=partial(_cells, cells, seconds), texts=(ONE, THREE))


async def _cells(
    cells: Sequence[tuple[str, int]], seconds: float, started: Running, tell: Tell, way: str = ""
) -> list[Cell]:
    return [
        await stretch(started, tell, shape, Order(text=TEXTS[shape], seconds=seconds, in_flight=level, way=way))
        for shape, level in cells
    ]


async def _course(seconds: float, counted: list[tuple[float, float]], started: Running, tell: Tell) -> list[Cell]:
    """Metier's own: every level, then most of its peak on a schedule, then its messages without actors."""
    cells = await _cells([("one", level) for level in LEVELS], seconds, started, tell)
    cells += await _cells([("three", 1), ("three", 16), ("three", 256)], seconds, started, tell)
    before = await _messages(started)
    cells += await _cells([("three", 64)], seconds, started, tell)
    after = await _messages(started)
    counted.append(
        ((after.in_msgs - before.in_msgs) / cells[-1].tasks, (after.out_msgs - before.out_msgs) / cells[-1].tasks)
    )
    rate = SHARE * max(each.per_s for each in cells if each.shape == "three")
    cells.append(await stretch(started, tell, "three", Order(text=THREE, seconds=seconds, rate=rate)))
    for way in ("nats-py", "adapter"):
        cells += await _cells(COMPARED, seconds, started, tell, way)
    return cells


class _Counted(msgspec.Struct):
    """The part of /varz that is read."""

    in_msgs: int
    out_msgs: int


async def _messages(started: Running) -> _Counted:
    def read() -> bytes:
        with urllib.request.urlopen(f"{started.ready.monitor_url}/varz") as reply:
            content: bytes = reply.read()
        return content

    return msgspec.json.decode(await asyncio.to_thread(read), type=_Counted)


def _traffic(outcome: Outcome, counted: list[tuple[float, float]]) -> Traffic:
    traffic = msgspec.convert(outcome.ready.told, Traffic)
    into, out = (round(sum(each) / len(counted), 1) for each in zip(*counted, strict=True))
    return msgspec.structs.replace(traffic, server_in=into, server_out=out)
