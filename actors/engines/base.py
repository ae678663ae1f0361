"""What every model engine does, whatever runs beneath it.

Homes: `transformers.py` (torch, CPU or GPU), `openai.py` (any OpenAI-compatible endpoint), and, in the cluster,
a handle on a model that runs in a deployment of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, Literal, Protocol

import msgspec

from metier.topics.errors import EngineFailed


class Turn(msgspec.Struct, frozen=True):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model."""

    turns: tuple[Turn, ...]
    #: JSON Schema (2020-12) the output obeys: compact JSON, keys in the schema's order.
    schema: dict[str, Any] | None = None
    #: Name of a LoRA adapter the engine was given; none: the base model.
    adapter: str | None = None
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    #: 0 is greedy.
    temperature: float = 0.0
    seed: int = 0


class Piece(msgspec.Struct, frozen=True):
    """Text as it appears."""

    text: str


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The whole output, last in every stream."""

    text: str
    #: The model as it should be shown.
    model: str
    prompt_tokens: int
    output_tokens: int
    #: From the engine taking the prompt to its last token, waiting for the batch included.
    seconds: float
    finish: Literal["stop", "length"] = "stop"
    #: How likely the output is right, of an adapter that was calibrated; of others the smallest probability among
    #: tokens the grammar left free, each taken over the tokens it allowed. In [0, 1].
    confidence: float | None = None
    #: The product of those probabilities.
    joint: float | None = None


class Engine(Protocol):
    """One model, ready to answer many prompts at once."""

    @property
    def model(self) -> str:
        """The model as it should be shown."""
        ...

    @property
    def stand_in(self) -> bool:
        """Whether the model only stands in for a larger one that is not configured."""
        ...

    async def load(self) -> None:
        """Makes the model ready. Raises ModelMissing or EngineFailed."""
        ...

    def stream(self, prompt: Prompt) -> AsyncIterator[Piece | Completion]:
        """Pieces as they come, then the completion. Closing the iterator stops the model. Raises EngineFailed."""
        ...

    async def health(self) -> None:
        """Returns if the engine can answer. Raises EngineFailed."""
        ...

    async def close(self) -> None:
        """Frees what the engine holds."""
        ...


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """What the encoder reads in a request."""

    #: Probability that each specialist is needed, by name; independent of one another.
    specialists: dict[str, float]
    #: Probability that the request is open, complex or not for this team.
    open: float
    #: Probability that the request says what is nobody else's business; 0 where the model does not tell.
    private: float = 0.0
    model: str
    tokens: int
    seconds: float


class Encoder(Protocol):
    """The router's model."""

    @property
    def model(self) -> str:
        """The model as it should be shown."""
        ...

    async def load(self) -> None:
        """Makes the model ready. Raises ModelMissing."""
        ...

    async def route(self, text: str) -> Routing:
        """Reads one request; concurrent calls share a batch."""
        ...

    async def close(self) -> None:
        """Frees what the encoder holds."""
        ...


@contextlib.contextmanager
def failing(model: str) -> Iterator[None]:
    """What the libraries of models raise becomes EngineFailed, with the model as it is shown."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        raise EngineFailed(model=model, reason=f"{type(error).__name__}: {error}") from error


async def complete(engine: Engine, prompt: Prompt) -> Completion:
    """The completion alone. Raises EngineFailed when the stream ends without one."""
    async for item in engine.stream(prompt):
        if isinstance(item, Completion):
            return item
    raise EngineFailed(model=engine.model, reason="the stream ended without a completion")
