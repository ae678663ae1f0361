"""Contenders in turns: every round starts each of them, loads it and stops it; a figure is the median of the rounds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median

import msgspec

from metier.topics.errors import Unavailable

from .contender import Order, Ready, Reply
from .figures import Cell
from .remote import Contender, Running, running

Tell = Callable[[str], None]

#: Loads a contender that runs, and returns what came of it. Told what it does.
Course = Callable[[Running, Tell], Awaitable[list[Cell]]]

#: Before anything counts: how long, and how many in flight, for one specialist and then for three.
WARM_UP_S, WARM_UP = 0.5, 16


class Entrant(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes part, and in what."""

    contender: Contender
    course: Course
    #: Loaded with these before anything counts.
    texts: tuple[str, ...]


class Outcome(msgspec.Struct, kw_only=True):
    """What a contender said of itself, and what each round gave."""

    ready: Ready = Ready()
    rounds: list[list[Cell]] = []
    #: Why it did not take part to the end.
    failed: Unavailable | None = None


async def in_turns(entrants: Mapping[str, Entrant], rounds: int, tell: Tell) -> dict[str, Outcome]:
    """Every entrant in each round, one after the other: what else the machine does falls on all of them.

    One that fails takes no further part.
    """
    found = {name: Outcome() for name in entrants}
    for number in range(rounds):
        for name, entrant in entrants.items():
            if not found[name].failed:
                try:
                    await _turn(name, entrant, found[name], Telling(tell, f"round {number + 1} of {rounds}: {name}"))
                except Unavailable as error:
                    found[name].failed = error
    return found


async def _turn(name: str, entrant: Entrant, outcome: Outcome, tell: Tell) -> None:
    tell("starting")
    async with running(name, entrant.contender) as started:
        outcome.ready = started.ready
        tell("warming up")
        for text in entrant.texts:
            for in_flight in (1, WARM_UP):
                await started.carry_out(Order(text=text, seconds=WARM_UP_S, in_flight=in_flight))
        outcome.rounds.append(await entrant.course(started, tell))
        tell("stopping")


class Telling:
    """Tells with what went before."""

    def __init__(self, tell: Tell, before: str) -> None:
        self._tell, self._before = tell, before

    def __call__(self, what: str) -> None:
        """Tells."""
        self._tell(f"{self._before}: {what}")


async def stretch(started: Running, tell: Tell, shape: str, order: Order) -> Cell:
    """One order carried out."""
    load = f"{order.rate:.0f} a second" if order.rate else f"{order.in_flight} in flight"
    tell(", ".join(filter(None, (order.way, shape, load))))
    return cell(shape, order, await started.carry_out(order))


def cell(shape: str, order: Order, reply: Reply) -> Cell:
    """An order and its reply as one figure."""
    return Cell(
        shape=shape,
        way=order.way,
        in_flight=0 if order.rate else order.in_flight,
        rate=round(order.rate, 1),
        tasks=reply.tasks,
        seconds=reply.seconds,
        per_s=round(reply.tasks / reply.seconds, 1),
        p50_ms=reply.p50_ms,
        p95_ms=reply.p95_ms,
        p99_ms=reply.p99_ms,
        cpu_ms=reply.cpu_ms,
    )


def medians(rounds: Sequence[Sequence[Cell]]) -> list[Cell]:
    """Each cell with the median of every figure over the rounds; tasks and seconds are added up."""
    return [_median(cells) for cells in zip(*rounds, strict=True)]


def _median(cells: Sequence[Cell]) -> Cell:
    first = cells[0]
    names = {name: None for each in cells for name in each.cpu_ms}
    return Cell(
        shape=first.shape,
        way=first.way,
        in_flight=first.in_flight,
        rate=median(each.rate for each in cells),
        tasks=sum(each.tasks for each in cells),
        seconds=round(sum(each.seconds for each in cells), 2),
        per_s=median(each.per_s for each in cells),
        p50_ms=median(each.p50_ms for each in cells),
        p95_ms=median(each.p95_ms for each in cells),
        p99_ms=median(each.p99_ms for each in cells),
        cpu_ms={name: round(median(each.cpu_ms.get(name, 0.0) for each in cells), 3) for name in names},
    )
