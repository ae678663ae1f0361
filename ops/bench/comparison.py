"""Metier beside its peers: the same graph, the same loads, on the same machine, in interleaved rounds."""

from __future__ import annotations

from functools import partial

from metier.topics.errors import Unavailable

from .contender import ONE, THREE, Order
from .figures import Cell, Peer, Peers
from .peers import handles
from .remote import ROOT, Contender, Running
from .rounds import Entrant, Outcome, Tell, in_turns, medians, stretch

ROUNDS = 5
METIER, HANDLES, FASTEST = "Metier", "Ray Serve handles", "Ray Serve handles, fastest"
#: The environment that `make bench-peers` makes.
PYTHON = ROOT / "build" / "peers" / ".venv" / "bin" / "python"
LOADS = (("one", ONE, 1), ("three", THREE, 1), ("three", THREE, 64))


async def measure(seconds: float, rounds: int, tell: Tell) -> Peers:
    """All of them; `seconds` for each figure, over all rounds. A peer that fails is left out, with its reason.

    Raises Unavailable if Metier fails, or nobody made the peers' environment.
    """
    if not PYTHON.exists():
        raise Unavailable(what="the peers' environment", reason="`make bench-peers` makes it")
    course = partial(_course, seconds / rounds)
    entrants = {
        name: Entrant(contender=contender, course=course, texts=(ONE, THREE))
        for name, contender in contenders().items()
    }
    outcomes = await in_turns(entrants, rounds, tell)
    if failed := outcomes[METIER].failed:
        raise failed
    return Peers(rounds=rounds, peers={name: _peer(outcome) for name, outcome in outcomes.items()})


def contenders() -> dict[str, Contender]:
    """By the name in the table."""

    def peer(kind: str) -> Contender:
        return Contender(kind=kind, python=str(PYTHON))

    return {
        METIER: Contender(kind="metier"),
        HANDLES: Contender(kind="handles"),
        FASTEST: Contender(kind="handles", environment=handles.FASTEST),
        "Celery, Redis": peer("celery_redis"),
        "taskiq, JetStream": peer("taskiq_nats"),
        "FastStream, JetStream": peer("faststream_nats"),
        "AutoGen-core, gRPC": peer("autogen_grpc"),
    }


async def _course(seconds: float, started: Running, tell: Tell) -> list[Cell]:
    return [
        await stretch(started, tell, shape, Order(text=text, seconds=seconds, in_flight=level))
        for shape, text, level in LOADS
    ]


def _peer(outcome: Outcome) -> Peer:
    ready = outcome.ready
    return Peer(
        durable=ready.durable,
        kept=ready.kept,
        versions=ready.versions,
        cells=[] if outcome.failed else medians(outcome.rounds),
        absent=str(outcome.failed or "").replace("|", "/").split("\n")[-1],
    )
