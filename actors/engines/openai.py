"""The openai engine: any endpoint that speaks OpenAI's chat completions, hosted or one's own (vLLM, NIM, Ollama)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from metier.topics.errors import EngineFailed

from .base import Completion, Piece, Prompt

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk


class OpenAISettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which endpoint, and how it is asked."""

    #: With its version, as in https://host/v1.
    base_url: str
    model: str
    #: Name of the environment variable that holds the key; "" for an endpoint that asks for none.
    api_key_env: str = "OPENAI_API_KEY"
    #: In US dollars.
    price_per_million_input: float = 0.0
    price_per_million_output: float = 0.0
    #: Longest silence of the endpoint.
    timeout_s: float = 60.0
    max_concurrency: int = 8
    #: Reasoning models of OpenAI know only "max_completion_tokens", many other endpoints only "max_tokens".
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    #: The endpoint is one's own: what it reads leaves nobody's hands.
    local: bool = False


class OpenAIEngine:
    """Engine on an OpenAI-compatible endpoint. It does not retry: whoever asked knows whether there is time to."""

    def __init__(self, settings: OpenAISettings) -> None:
        self._settings = settings
        self._room = asyncio.Semaphore(settings.max_concurrency)
        self._client: AsyncOpenAI | None = None

    @property
    def model(self) -> str:
        """The model as it is shown."""
        return self._settings.model

    @property
    def stand_in(self) -> bool:
        """Never: it is the model that was configured."""
        return False

    async def load(self) -> None:
        """Makes the client. Raises EngineFailed if the key is not in the environment."""
        from openai import AsyncOpenAI

        name = self._settings.api_key_env
        key = os.environ.get(name, "") if name else "none"
        if not key:
            raise EngineFailed(model=self.model, reason=f"the environment variable {name}, its key, is not set")
        self._client = AsyncOpenAI(
            base_url=self._settings.base_url, api_key=key, timeout=self._settings.timeout_s, max_retries=0
        )

    async def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """Pieces as they come, then the completion. Closing the iterator ends the request. Raises EngineFailed."""
        client, request = self._ready(), self._request(prompt)
        started = time.perf_counter()
        text, finish, usage = "", None, None
        async with self._room, contextlib.AsyncExitStack() as stack:
            with self._failing():
                chunks = await client.chat.completions.create(**request)
                await stack.enter_async_context(chunks)
            while (chunk := await self._next(chunks)) is not None:
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    if choice.delta.refusal:
                        raise EngineFailed(model=self.model, reason=f"it refused: {choice.delta.refusal}")
                    finish = choice.finish_reason or finish
                    if choice.delta.content:
                        text += choice.delta.content
                        yield Piece(choice.delta.content)
        if usage is None:
            raise EngineFailed(model=self.model, reason="the endpoint counted no tokens; it must know include_usage")
        yield Completion(
            text=text,
            model=self.model,
            prompt_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            seconds=time.perf_counter() - started,
            finish=self._finish(finish),
        )

    async def health(self) -> None:
        """Returns if the endpoint answers and takes the key. Raises EngineFailed."""
        from openai import NotFoundError

        with self._failing(), contextlib.suppress(NotFoundError):  # it answers, without a list of models
            await self._ready().models.list()

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _ready(self) -> AsyncOpenAI:
        if self._client is None:
            raise EngineFailed(model=self.model, reason="it is not loaded")
        return self._client

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        if prompt.adapter is not None:
            raise EngineFailed(model=self.model, reason=f"an endpoint takes no adapters, as {prompt.adapter!r}")
        request: dict[str, Any] = {
            "model": self._settings.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in prompt.turns],
            "temperature": prompt.temperature,
            "seed": prompt.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
            self._settings.limit_field: prompt.max_tokens,
        }
        if prompt.stop:
            request["stop"] = list(prompt.stop)
        if prompt.schema is not None:
            schema = {"name": "output", "schema": prompt.schema, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    async def _next(self, chunks: Any) -> ChatCompletionChunk | None:
        with self._failing():
            return await anext(chunks, None)

    def _finish(self, reason: str | None) -> Literal["stop", "length"]:
        if reason == "length":
            return "length"
        if reason == "stop":
            return "stop"
        raise EngineFailed(model=self.model, reason=f"the endpoint ended its answer with {reason or 'no reason'}")

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turns the client's errors into EngineFailed, in the endpoint's own words."""
        from openai import APIConnectionError, APIStatusError, OpenAIError

        try:
            yield
        except APIStatusError as error:
            body = error.body if isinstance(error.body, dict) else {}
            said = body.get("message") or error.response.reason_phrase
            raise EngineFailed(model=self.model, reason=f"HTTP {error.status_code}: {said}") from error
        except APIConnectionError as error:
            reason = f"{self._settings.base_url}: {error.__cause__ or error}"
            raise EngineFailed(model=self.model, reason=reason) from error
        except OpenAIError as error:  # an error event in the stream, a chunk that is not one
            raise EngineFailed(model=self.model, reason=str(error) or type(error).__name__) from error
