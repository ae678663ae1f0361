"""What an actor is: it decides, and `loop.py` speaks to the bus for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from metier.topics.bus import Delivery
from metier.topics.messages import Control, Event, Message, State
from metier.topics.outbox import Output
from metier.topics.streams import Consumer

Tell = Callable[[Event], Awaitable[None]]


class Actor(Protocol):
    """One member of a team. It decides; the loop speaks to the bus."""

    @property
    def name(self) -> str:
        """The actor's name: its durable consumer has it too."""
        ...

    @property
    def consumer(self) -> Consumer:
        """What it pulls from."""
        ...

    @property
    def accepts(self) -> tuple[type[Message], ...]:
        """The messages it understands."""
        ...

    @property
    def concurrency(self) -> int:
        """How many deliveries it handles at once."""
        ...

    @property
    def model(self) -> str:
        """The model it speaks through, as shown; empty without one."""
        ...

    @property
    def note(self) -> str:
        """What an operator must know of it."""
        ...

    async def open(self) -> None:
        """Makes ready what `handle` needs."""
        ...

    async def close(self) -> None:
        """Frees it."""
        ...

    def deadline(self, message: Any, delivery: Delivery) -> dt.datetime | None:
        """When the message is no longer worth handling."""
        ...

    async def handle(self, message: Any, delivery: Delivery, tell: Tell) -> Sequence[Output]:
        """What a message leads to. It publishes nothing; `tell` is for progress, which may be lost."""
        ...

    def give_up(self, message: Any, delivery: Delivery, state: State, reason: str) -> Sequence[Output]:
        """What stands for a message that is expired, cancelled, or failed for good: no plan may hang on it."""
        ...

    async def cancel(self, control: Control) -> Sequence[Output]:
        """What a cancelled task leads to, besides its running work being stopped."""
        ...
