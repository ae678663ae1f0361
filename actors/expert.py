"""The actor behind an escalation subject: a pooled large model for what is open, complex or uncertain."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence

import msgspec
from opentelemetry.trace import SpanKind

from metier.topics import tracing
from metier.topics.bus import Delivery
from metier.topics.errors import EngineFailed
from metier.topics.messages import Control, Escalation, Event, Finding, Privacy, State, Tokens, Usage
from metier.topics.outbox import Output
from metier.topics.streams import Consumer

from . import policy
from .actor import Tell
from .engines.base import Completion, Engine, Piece, Prompt, Turn
from .specialist import describe

#: Tokens are told in pieces of this many seconds, not one by one.
TELL_EVERY_S = 0.05


class Expert:
    """One tier of large models."""

    accepts = (Escalation,)

    def __init__(
        self, *, tier: policy.Tier, consumer: Consumer, concurrency: int, engine: Engine, max_tokens: int
    ) -> None:
        self.name = tier.name
        self.consumer = consumer
        self.concurrency = concurrency
        self._tier = tier
        self._engine = engine
        self._max_tokens = max_tokens

    @property
    def model(self) -> str:
        """The model, as shown."""
        return self._engine.model

    @property
    def note(self) -> str:
        """Whether the model only stands in for a large one."""
        return "stand-in: no large model is configured" if self._tier.stand_in else ""

    async def open(self) -> None:
        """Loads the model, or reaches its endpoint."""
        await self._engine.load()

    async def close(self) -> None:
        """Frees the model."""
        await self._engine.close()

    def deadline(self, message: Escalation, delivery: Delivery) -> dt.datetime | None:
        """The task's."""
        return message.deadline

    async def handle(self, message: Escalation, delivery: Delivery, tell: Tell) -> Sequence[Output]:
        """One result in plain words, and what it used."""
        if message.privacy is Privacy.LOCAL and not self._tier.local:
            return self.give_up(message, delivery, State.FAILED, "the task is private, and this model is not local")
        began = time.perf_counter()
        await tell(_event(message, "started"))
        name = f"{tracing.INVOKE_AGENT} {self.name}"
        with tracing.tracer.start_as_current_span(name, attributes={tracing.GEN_AGENT: self.name}):
            completion = await self._answer(message, tell)
        tokens = Tokens(
            model=completion.model,
            prompt=completion.prompt_tokens,
            output=completion.output_tokens,
            seconds=round(completion.seconds, 4),
            stand_in=self._tier.stand_in,
        )
        if not self._tier.stand_in:
            tokens = msgspec.structs.replace(tokens, cost_usd=self._tier.price(tokens))
        finding = Finding(state=State.OK, specialist=self.name, text=completion.text.strip(), tokens=(tokens,))
        seconds = round(time.perf_counter() - began, 4)
        done = _event(message, "finished", finding.text)
        await tell(msgspec.structs.replace(done, state=State.OK, seconds=seconds))
        return [policy.result(message, finding), _usage(message, finding, seconds)]

    def give_up(self, message: Escalation, delivery: Delivery, state: State, reason: str) -> Sequence[Output]:
        """A result that says so."""
        return [policy.result(message, Finding(state=state, specialist=self.name, reason=reason))]

    async def cancel(self, control: Control) -> Sequence[Output]:
        """Nothing: the loop stops running work and gives it up."""
        return ()

    async def _answer(self, message: Escalation, tell: Tell) -> Completion:
        prompt = Prompt(turns=_turns(message), max_tokens=self._max_tokens)
        with tracing.tracer.start_as_current_span(f"{tracing.CHAT} {self._engine.model}", kind=SpanKind.CLIENT) as span:
            held, told_at = "", time.monotonic()
            async for item in self._engine.stream(prompt):
                if isinstance(item, Piece):
                    held += item.text
                    if time.monotonic() - told_at < TELL_EVERY_S:
                        continue
                if held:
                    await tell(_event(message, "tokens", held))
                    held, told_at = "", time.monotonic()
                if isinstance(item, Completion):
                    describe(span, item)
                    return item
        raise EngineFailed(model=self._engine.model, reason="the stream ended without a completion")


def _turns(message: Escalation) -> tuple[Turn, ...]:
    known = [f"{finding.specialist}: {finding.text}" for finding in message.inputs.values() if finding.text]
    system = "Answer in the language of the question. Say so when you do not know."
    if message.context.date:
        system += f" Today is {message.context.date:%A, %d %B %Y}."
    if known:
        system += "\nKnown so far:\n" + "\n".join(known)
    return (Turn("system", system), Turn("user", message.text))


def _usage(message: Escalation, finding: Finding, seconds: float) -> Usage:
    return Usage(
        task_id=message.task_id,
        tenant=message.tenant,
        node=message.node,
        name=message.tier,
        state=finding.state,
        seconds=seconds,
        tokens=finding.tokens,
    )


def _event(message: Escalation, what: str, text: str = "") -> Event:
    return Event(
        task_id=message.task_id,
        tenant=message.tenant,
        turn=message.turn,
        what=what,  # type: ignore[arg-type]
        node=message.node,
        specialist=message.tier,
        text=text,
    )
