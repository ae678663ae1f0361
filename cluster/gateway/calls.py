"""One request on its way through the door: who asks, what for, and what comes back when it cannot be done."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from . import bodies, problems
from .crew import Crew
from .door import Door, checked
from .keys import DEFAULT_TENANT, Keys
from .problems import Problem, retry_after
from .settings import Limits

T = TypeVar("T")

_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?=$|[,;])", re.IGNORECASE)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class House:
    """What all requests share. The door is open while the bus answers."""

    def __init__(self, crew: Crew, keys: Keys, limits: Limits) -> None:
        self.crew = crew
        self.keys = keys
        self.limits = limits
        self.door: Door | None = None
        self.closing = False
        self._streams: set[asyncio.Task[None]] = set()
        self._waiting = 0

    def opened(self) -> Door:
        """The door. Raises Problem 503 while the bus is away."""
        if self.door is None:
            raise Problem(
                503, "The gateway has no connection to the bus.", kind="bus-unavailable", headers=retry_after(2)
            )
        return self.door

    def check_place(self) -> None:
        """Raises Problem 503 when all places of those who wait are taken."""
        if len(self._streams) + self._waiting >= self.limits.streams:
            detail = f"This gateway serves {self.limits.streams} streams at once, and all are taken."
            raise Problem(503, detail, kind="too-many-streams", headers=retry_after(1))

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """A place among those who wait. Raises Problem 503."""
        self.check_place()
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1

    @contextmanager
    def streaming(self, sending: asyncio.Task[None]) -> Iterator[None]:
        """The place of a stream."""
        self._streams.add(sending)
        try:
            yield
        finally:
            self._streams.discard(sending)

    def close(self) -> None:
        """Ends all streams."""
        self.closing = True
        for sending in self._streams:
            sending.cancel()

    def tenant(self, request: Request) -> str:
        """Who asks. Raises Problem 401, or 421 for a page that found the way to this machine's own door."""
        if not self.keys.required:
            if urlsplit(f"//{request.headers.get('host', '')}").hostname not in _LOOPBACK:
                raise Problem(421, "Without API keys this door is for this machine alone: ask it as 127.0.0.1.")
            return DEFAULT_TENANT
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        tenant = self.keys.tenant(key.strip()) if scheme.lower() == "bearer" else None
        if tenant is None:
            detail = "Send a valid key as Authorization: Bearer KEY."
            raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})
        return tenant


class Call:
    """One request."""

    def __init__(self, house: House, request: Request, tenant: str) -> None:
        self.house = house
        self.request = request
        self.tenant = tenant

    @property
    def door(self) -> Door:
        """The way to the bus. Raises Problem 503."""
        return self.house.opened()

    @property
    def task_id(self) -> str:
        """The task the path names. Raises UnknownTask for what cannot be one."""
        return checked(self.request.path_params["task_id"])

    @property
    def traceparent(self) -> str:
        """The span that the caller is in (W3C Trace Context)."""
        return self.request.headers.get("traceparent", "")

    def wait_s(self) -> float:
        """How long the caller would wait: `?wait_s=` or `Prefer: wait=` (RFC 7240), as far as the limit allows."""
        given = self.request.query_params.get("wait_s")
        if given is None:
            preferred = _WAIT.search(self.request.headers.get("prefer", ""))
            given = preferred[1] if preferred else "0"
        try:
            seconds = float(given)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise Problem(422, f"wait_s is {given!r}; it is a number of seconds.", kind="invalid-parameter")
        return min(seconds, self.house.limits.wait_s)

    async def body(self, kind: type[T]) -> T:
        """What was sent. Raises Problem."""
        return bodies.decode(await bodies.read(self.request, self.house.limits), kind)


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of an operation, for the document."""

    name: str
    place: str
    about: str
    #: As JSON Schema; none: any text.
    schema: Mapping[str, Any] = {}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that can be asked: the route and its place in the document."""

    method: str
    path: str
    handle: Callable[[Call], Awaitable[Response]]
    about: str
    #: What it takes.
    body: Any = None
    #: What it gives, by status; a type as JSON, a media type, or nothing.
    gives: Mapping[int, Any]
    #: The problems it may have, beside those that all have.
    problems: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    #: Anybody may ask.
    public: bool = False
    #: For OpenAI's clients.
    openai: bool = False

    def endpoint(self, house: House) -> Callable[[Request], Awaitable[Response]]:
        """The operation as a Starlette endpoint."""

        async def respond(request: Request) -> Response:
            try:
                tenant = "" if self.public else house.tenant(request)
                return await self.handle(Call(house, request, tenant))
            except Exception as error:  # noqa: BLE001 - it is told, and logged if nobody expected it
                return problems.of(error).response(openai=self.openai)

        return respond


def replied(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A struct as JSON."""
    return Response(bodies.encode(value), status, headers, "application/json")
