"""The actor that knows one trade: it turns a subtask into a tool call, runs the tool, and says what it found."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from metier.topics import tracing
from metier.topics.bus import Delivery
from metier.topics.errors import InvalidValue, ToolFailed
from metier.topics.messages import (
    Call,
    Control,
    Event,
    Finding,
    Privacy,
    State,
    Subtask,
    Tokens,
    Usage,
)
from metier.topics.outbox import Output
from metier.topics.streams import Consumer

from . import policy
from .actor import Tell
from .engines.base import Completion, Engine, complete
from .prompts import call_prompt, parse_call
from .tools.base import Missing, Offer, Outcome, Request, Tool

#: What one finding may weigh: the ledger carries it, and every node that needs it gets a copy.
FINDING_LIMIT_BYTES = 128 * 1024


class Specialist:
    """One trade: one model, one adapter, a few tools."""

    accepts = (Subtask,)

    def __init__(
        self,
        *,
        name: str,
        consumer: Consumer,
        concurrency: int,
        engine: Engine,
        tools: Sequence[Tool],
        adapter: str | None = None,
        least_confidence: float = 0.0,
        may_refuse: bool = False,
        deadline_s: float = 60.0,
        local: bool = True,
    ) -> None:
        self.name = name
        self.consumer = consumer
        self.concurrency = concurrency
        self.note = ""
        self._engine = engine
        self._tools = {tool.name: tool for tool in tools}
        self._adapter = adapter
        self._least_confidence = least_confidence
        self._may_refuse = may_refuse
        self._deadline_s = deadline_s
        self._local = local

    @property
    def model(self) -> str:
        """Base model and adapter, as shown."""
        return f"{self._engine.model} + {self._adapter}" if self._adapter else self._engine.model

    async def open(self) -> None:
        """Loads the model."""
        await self._engine.load()

    async def close(self) -> None:
        """Frees model and tools."""
        for tool in self._tools.values():
            await tool.close()
        await self._engine.close()

    def deadline(self, message: Subtask, delivery: Delivery) -> dt.datetime | None:
        """The task's, or the specialist's own if that is sooner."""
        return min(message.deadline, dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self._deadline_s))

    async def handle(self, message: Subtask, delivery: Delivery, tell: Tell) -> Sequence[Output]:
        """One result, and what it used."""
        began = time.perf_counter()
        await tell(self._event(message, "started"))
        with tracing.tracer.start_as_current_span(f"{tracing.INVOKE_AGENT} {self.name}") as span:
            if span.is_recording():
                span.set_attributes(
                    {
                        tracing.GEN_OPERATION: tracing.INVOKE_AGENT,
                        tracing.GEN_AGENT: self.name,
                        tracing.TASK: message.task_id,
                        tracing.NODE: message.node,
                    }
                )
            finding = await self._find(message, tell)
            span.set_attribute(tracing.STATE, str(finding.state))
            if finding.reason:
                span.set_attribute(tracing.REASON, finding.reason)
        seconds = time.perf_counter() - began
        await tell(
            replace(
                self._event(message, "finished"),
                state=finding.state,
                text=finding.text or finding.reason or "",
                seconds=round(seconds, 4),
            )
        )
        return [policy.result(message, finding), self._usage(message, finding, seconds)]

    def give_up(self, message: Subtask, delivery: Delivery, state: State, reason: str) -> Sequence[Output]:
        """A result that says so."""
        return [policy.result(message, Finding(state=state, specialist=self.name, reason=reason))]

    async def cancel(self, control: Control) -> Sequence[Output]:
        """Nothing: the loop stops running work and gives it up."""
        return ()

    # ── Finding ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _find(self, subtask: Subtask, tell: Tell) -> Finding:
        if subtask.privacy is Privacy.LOCAL and not self._local:
            return self._failed("the task is private, and this specialist's model runs outside the cluster")
        request = Request.of(subtask, dt.datetime.now(dt.UTC))
        try:
            offers = [offer for tool in self._tools.values() if (offer := tool.offer(request))]
        except (InvalidValue, ToolFailed) as error:
            return self._failed(str(error))
        if not offers:
            return self._failed("there is nothing to work with")
        completion = await self._choose(offers, request)
        tokens = _tokens(completion, self.model)
        if completion.finish == "length":
            return self._escalate(f"its output was cut at {completion.output_tokens} tokens", completion, tokens)
        call = parse_call(offers, completion.text, may_refuse=self._may_refuse)
        if completion.confidence is not None and completion.confidence < self._least_confidence:
            why = f"confidence {completion.confidence:.2f} is below {self._least_confidence:.2f}"
            return self._escalate(why, completion, tokens)
        if call is None:
            return self._escalate("none of its tools fits", completion, tokens)
        tool, said = call
        await tell(self._event(subtask, "called", _shown(tool, said)))
        return await self._call(self._tools[tool], said, request, completion, tokens)

    async def _choose(self, offers: Sequence[Offer], request: Request) -> Completion:
        """Asks the model for a call."""
        prompt = call_prompt(offers, request, self._adapter, may_refuse=self._may_refuse)
        with tracing.tracer.start_as_current_span(f"{tracing.CHAT} {self._engine.model}", kind=SpanKind.CLIENT) as span:
            completion = await complete(self._engine, prompt)
            describe(span, completion)
        return completion

    async def _call(
        self, tool: Tool, said: Mapping[str, Any], request: Request, completion: Completion, tokens: Tokens
    ) -> Finding:
        """Runs the tool: what it returns, what is missing, or why it cannot."""
        call = Call(tool=tool.name, said=dict(said))
        found = Finding(
            state=State.OK, specialist=self.name, call=call, confidence=completion.confidence, tokens=(tokens,)
        )
        with tracing.tracer.start_as_current_span(f"{tracing.EXECUTE_TOOL} {tool.name}") as span:
            span.set_attribute(tracing.GEN_OPERATION, tracing.EXECUTE_TOOL)
            span.set_attribute(tracing.GEN_TOOL, tool.name)
            try:
                outcome = await tool.call(said, request)
            except Missing as missing:
                asks = State.INPUT_REQUIRED
                return replace(found, state=asks, missing=missing.names, reason=f"missing: {missing}")
            except (InvalidValue, ToolFailed) as error:
                return replace(found, state=State.FAILED, reason=str(error))
        call = replace(call, arguments=outcome.arguments)
        return self._fits(replace(found, text=outcome.text, data=outcome.data, call=call), outcome)

    def _fits(self, finding: Finding, outcome: Outcome) -> Finding:
        size = len(msgspec.json.encode(outcome.data))
        if size <= FINDING_LIMIT_BYTES:
            return finding
        reason = f"the tool returned {size} bytes; the limit is {FINDING_LIMIT_BYTES}"
        return replace(finding, state=State.FAILED, data=None, text="", reason=reason)

    def _failed(self, reason: str) -> Finding:
        return Finding(state=State.FAILED, specialist=self.name, reason=reason)

    def _escalate(self, reason: str, completion: Completion, tokens: Tokens) -> Finding:
        return Finding(
            state=State.ESCALATE,
            specialist=self.name,
            reason=reason,
            confidence=completion.confidence,
            tokens=(tokens,),
        )

    # ── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _usage(self, subtask: Subtask, finding: Finding, seconds: float) -> Usage:
        return Usage(
            task_id=subtask.task_id,
            tenant=subtask.tenant,
            node=subtask.node,
            name=self.name,
            state=finding.state,
            seconds=round(seconds, 4),
            confidence=finding.confidence,
            tokens=finding.tokens,
        )

    def _event(self, subtask: Subtask, what: Any, text: str = "") -> Event:
        return Event(
            task_id=subtask.task_id,
            tenant=subtask.tenant,
            turn=subtask.turn,
            what=what,
            node=subtask.node,
            specialist=self.name,
            text=text,
        )


def describe(span: trace.Span, completion: Completion) -> None:
    """Writes what a model call used on its span."""
    if span.is_recording():
        span.set_attributes(
            {
                tracing.GEN_OPERATION: tracing.CHAT,
                tracing.GEN_PROVIDER: "metier",
                tracing.GEN_MODEL: completion.model,
                tracing.GEN_INPUT_TOKENS: completion.prompt_tokens,
                tracing.GEN_OUTPUT_TOKENS: completion.output_tokens,
            }
        )
        if completion.confidence is not None:
            span.set_attribute(tracing.CONFIDENCE, round(completion.confidence, 4))


def _tokens(completion: Completion, model: str) -> Tokens:
    return Tokens(
        model=model,
        prompt=completion.prompt_tokens,
        output=completion.output_tokens,
        seconds=round(completion.seconds, 4),
    )


def _shown(tool: str, said: Mapping[str, Any]) -> str:
    """A call as a person reads it: what was said, nothing that was not."""
    return f"{tool}({', '.join(f'{name}={value}' for name, value in said.items() if value is not None)})"
