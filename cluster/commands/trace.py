"""`metier trace`: where the time of a task went."""

from __future__ import annotations

from argparse import Namespace

import msgspec

from metier.topics.errors import NotUp, UnknownTask
from metier.topics.ledger import Ledger

from .. import telemetry, traces
from ..state import State
from ..tables import waterfall
from ..view import console
from .session import Session, connected


async def trace(options: Namespace) -> int:
    """Draws each turn of a task; works on a team that is down as long as its spans are kept."""
    folder = State(options.directory).traces
    found = traces.of_task(folder, options.task)
    if not found:
        found = await _elsewhere(options)
        if not found:
            return 0
    if options.json:
        records = [record for records in found.values() for record in records]
        print(msgspec.json.encode(records).decode())  # noqa: T201 - for machines
        return 0
    screen = console()
    for trace_id, records in found.items():
        screen.print(waterfall(trace_id, records, width=screen.width))
    return 0


async def _elsewhere(options: Namespace) -> dict[str, list[traces.Record]]:
    """The task's trace by the id its answer or plan names. Raises UnknownTask."""
    try:
        async with connected(options) as session:
            trace_id = await _trace_id(session, options.task)
            endpoint = telemetry.endpoint_of(session.team.telemetry)
    except NotUp:
        raise UnknownTask(task_id=options.task, name=options.task) from None
    if records := traces.read(session.state.traces, trace_id):
        return {trace_id: records}
    if not endpoint:
        raise UnknownTask(task_id=options.task, name=options.task)
    if options.json:
        print("[]")  # noqa: T201 - for machines
    console(stderr=options.json).print(f"Trace {trace_id} went to {endpoint}: nothing is kept here.", soft_wrap=True)
    return {}


async def _trace_id(session: Session, task_id: str) -> str:
    try:
        return (await session.client.answer(task_id)).trace_id
    except UnknownTask:
        return (await Ledger(session.bus).read(session.client.tenant, task_id)).trace_id
