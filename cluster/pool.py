"""Models in deployments of their own, shared by all actors that use them, and the engine on the actors' side."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from metier.actors.engines.base import Completion, Piece, Prompt, Routing
from metier.topics.ending import end
from metier.topics.errors import EngineFailed, MetierError

from . import models
from .team import Team, Telemetry

#: A piece is held back this long for more text: each costs a message between processes, in seconds.
GATHER_S = 0.04
#: A model may take this long to load, in seconds.
LOAD_LIMIT_S = 300.0


class Failure(msgspec.Struct, frozen=True):
    """An error as it travels: raised remotely, Ray would wrap it in one of its own."""

    kind: str
    values: dict[str, Any]

    @classmethod
    def of(cls, error: MetierError) -> Failure:
        """The error's name and values."""
        return cls(type(error).__name__, {name: str(value) for name, value in error.values.items()})

    def error(self) -> MetierError:
        """The error again."""
        from metier.topics import errors

        return getattr(errors, self.kind)(**self.values)  # type: ignore[no-any-return]


class ModelServer:
    """One copy of a model: a Serve deployment. It is loaded once the first of its methods is called, or told to."""

    def __init__(self, team: Team, model: str, telemetry: Telemetry, directory: str | None) -> None:
        from .telemetry import setup

        setup(service=models.application(model), telemetry=telemetry, directory=directory)
        self._encodes = model == team.router.model
        self._engine: Any = models.encoder(team, model) if self._encodes else models.engine(team, model)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Loads the model: Serve sends nobody here before that."""
        await self._engine.load()

    async def about(self) -> tuple[str, bool]:
        """The model as it should be shown, and whether it stands in for a larger one."""
        return self._engine.model, getattr(self._engine, "stand_in", False)

    async def health(self) -> Failure | None:
        """None if the model can answer."""
        try:
            if not self._encodes:
                await self._engine.health()
        except MetierError as error:
            return Failure.of(error)
        return None

    async def route(self, text: str) -> Routing | Failure:
        """Reads one request."""
        try:
            return await self._engine.route(text)  # type: ignore[no-any-return]
        except MetierError as error:
            return Failure.of(error)

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion | Failure]:
        """Pieces, gathered, then the completion or what went wrong."""
        try:
            async with contextlib.aclosing(gathered(self._engine.stream(prompt))) as items:
                async for item in items:
                    yield item
        except MetierError as error:
            yield Failure.of(error)

    async def check_health(self) -> None:
        """What Serve asks: a server whose engine failed is replaced."""
        if failure := await self.health():
            raise failure.error()

    async def __del__(self) -> None:
        """Frees the model."""
        from .telemetry import shutdown

        if hasattr(self, "_engine"):
            await self._engine.close()
        shutdown()


async def gathered(
    items: AsyncGenerator[Piece | Completion], every_s: float = GATHER_S
) -> AsyncGenerator[Piece | Completion]:
    """The same stream with pieces that come within `every_s` joined; the first is not held back."""
    queue: asyncio.Queue[Piece | Completion | BaseException] = asyncio.Queue()

    async def fill() -> None:
        try:
            async with contextlib.aclosing(items):
                async for item in items:
                    queue.put_nowait(item)
            queue.put_nowait(StopAsyncIteration())
        except Exception as error:  # noqa: BLE001 - raised by the reader below
            queue.put_nowait(error)

    filling = asyncio.create_task(fill())
    try:
        while True:
            item, text = await queue.get(), ""
            while isinstance(item, Piece):
                text += item.text
                if queue.empty():
                    yield Piece(text)
                    text = ""
                    await asyncio.sleep(every_s)
                item = await queue.get()
            if text:
                yield Piece(text)
            if isinstance(item, StopAsyncIteration):
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        await end(filling)


class PooledEngine:
    """A shared model as an engine, or as an encoder, on the side of an actor."""

    def __init__(self, model: str, shows: str = "", limit_s: float = LOAD_LIMIT_S) -> None:
        self._name = model
        self._shows = shows or model
        self._stand_in = False
        self._limit_s = limit_s
        self._handle: Any = None

    @property
    def model(self) -> str:
        """The model as it should be shown."""
        return self._shows

    @property
    def stand_in(self) -> bool:
        """Whether the model only stands in for a larger one."""
        return self._stand_in

    async def load(self) -> None:
        """Waits until the model's deployment answers. Raises EngineFailed."""
        name = models.application(self._name)
        self._handle = serve.get_deployment_handle(name, name, _check_exists=False)
        try:
            async with asyncio.timeout(self._limit_s):
                self._shows, self._stand_in = await self._handle.about.remote()
        except TimeoutError:
            raise EngineFailed(model=self.model, reason=f"it was not ready within {self._limit_s:g} s") from None
        except (RayError, RayServeException) as error:
            raise self._lost(error) from error

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """Pieces, then the completion. Closing the iterator stops the model."""
        response = self._ready().stream.options(stream=True).remote(prompt)
        ended = False
        try:
            async for item in response:
                if isinstance(item, Failure):
                    raise item.error()
                ended = isinstance(item, Completion)
                yield item
        except (RayError, RayServeException) as error:
            ended = True
            raise self._lost(error) from error
        finally:
            if not ended:
                response.cancel()

    async def route(self, text: str) -> Routing:
        """Reads one request."""
        try:
            found = await self._ready().route.remote(text)
        except (RayError, RayServeException) as error:
            raise self._lost(error) from error
        if isinstance(found, Failure):
            raise found.error()
        return found  # type: ignore[no-any-return]

    async def health(self) -> None:
        """Returns if the model can answer. Raises EngineFailed."""
        try:
            failure = await self._ready().health.remote()
        except (RayError, RayServeException) as error:
            raise self._lost(error) from error
        if failure:
            raise failure.error()

    async def close(self) -> None:
        """Nothing to free: the model stays for others."""
        self._handle = None

    def _ready(self) -> Any:
        if self._handle is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        return self._handle

    def _lost(self, error: Exception) -> EngineFailed:
        return EngineFailed(model=self.model, reason=f"its process was lost: {type(error).__name__}")
