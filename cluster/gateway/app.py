"""The ASGI application: operations as routes, and the bus behind them, kept open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from metier.topics.bus import Bus
from metier.topics.ending import end
from metier.topics.errors import MetierError
from metier.topics.load import Load
from metier.topics.subjects import Subjects

from ..doors.http import AgentDoors
from . import openai, tasks
from .calls import Call, House, Operation, replied
from .crew import Crew
from .document import document
from .door import Door
from .keys import Keys
from .problems import Problem
from .settings import Gateway

log = logging.getLogger("metier.gateway")

#: Opens a bus; raises BusUnavailable.
Connect = Callable[[], AbstractAsyncContextManager[Bus]]

#: Between attempts to reach a broker that is away, in seconds.
RETRY_S = 0.5
#: A bus that says nothing for so long is not ready.
READY_S = 2.0


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """That it works."""

    status: str
    #: Tasks that no actor has read.
    waiting: int | None = None


async def healthz(call: Call) -> Response:
    """The process lives."""
    return replied(Health(status="ok"))


async def readyz(call: Call) -> Response:
    """The bus answers, and has the streams of a team. Raises Problem 503."""
    try:
        async with asyncio.timeout(READY_S):
            return replied(Health(status="ready", waiting=await call.door.ready()))
    except (TimeoutError, MetierError) as error:
        raise Problem(503, f"The bus is not ready: {error}.", kind="not-ready") from error


HEALTH = (
    Operation(
        method="GET", path="/healthz", handle=healthz, about="The process lives.", gives={200: Health}, public=True
    ),
    Operation(
        method="GET", path="/readyz", handle=readyz, about="It can take tasks.", gives={200: Health}, public=True
    ),
)
OPERATIONS = (*tasks.OPERATIONS, *openai.OPERATIONS, *HEALTH)


def application(
    connect: Connect,
    subjects: Subjects,
    crew: Crew,
    keys: Keys,
    settings: Gateway,
    watch: Sequence[Operation] = (),
    page: Sequence[BaseRoute] = (),
) -> Starlette:
    """The door as an ASGI application. It starts while the broker is away, and says so until it is there.

    `watch` are the operations that show the team at work, `page` the routes of the page that draws it.
    """
    operations = (*OPERATIONS, *watch)
    house = House(crew, keys, settings.limits)
    agents = AgentDoors(house)
    described = msgspec.json.encode(document(operations, keys=keys.required))

    async def openapi(request: Request) -> Response:
        return Response(described, media_type="application/json")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        keeping = asyncio.create_task(_keep_open(house, connect, subjects))
        try:
            async with agents.running():
                yield
        finally:
            await end(keeping)

    routes = [Route(one.path, one.endpoint(house), methods=[one.method]) for one in operations]
    cors = Middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["*"], allow_headers=["*"])
    app = Starlette(
        routes=[*routes, *agents.routes, Route("/openapi.json", openapi), *page],
        middleware=[cors] if settings.origins else [],
        exception_handlers={HTTPException: _http_problem},
        lifespan=lifespan,
    )
    app.state.house = house
    return app


async def _keep_open(house: House, connect: Connect, subjects: Subjects) -> None:
    """Opens the door, again if need be, until cancelled. A broker that goes away later is waited for by the bus."""
    while True:
        try:
            async with connect() as bus, asyncio.TaskGroup() as group:
                door = Door(bus, subjects, Load(bus, house.crew.consumers))
                reading = asyncio.Event()
                group.create_task(door.answers.run(reading))
                group.create_task(door.load.run())
                await reading.wait()
                house.door = door
        except MetierError as error:
            log.warning("%s", error, extra={"action": "connect"})
        finally:
            house.door = None
        await asyncio.sleep(RETRY_S)


async def _http_problem(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    detail = f"There is no {request.method} {request.url.path}; GET /openapi.json says what there is."
    if allowed := (error.headers or {}).get("Allow"):
        detail = f"{request.url.path} takes {allowed}, not {request.method}; GET /openapi.json says what there is."
    return Problem(error.status_code, detail, headers=dict(error.headers or {})).response()
