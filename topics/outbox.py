"""Where each message goes and under which id: the one place that sends."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

from opentelemetry.trace import Span, SpanKind

from . import tracing
from .bus import Bus, Publication
from .codec import encode
from .errors import AlreadyAnswered
from .messages import (
    Answer,
    Control,
    Dead,
    Deadline,
    Escalation,
    Event,
    Message,
    Result,
    State,
    Subtask,
    Task,
    Usage,
)
from .subjects import Subjects

Durable = Task | Subtask | Escalation | Result | Deadline | Answer | Dead
#: Sent without promise: they may be lost without harm.
Fleeting = Event | Usage | Control


class Later:
    """A message to be delivered at a time."""

    __slots__ = ("at", "message")

    def __init__(self, message: Deadline, at: dt.datetime) -> None:
        self.message = message
        self.at = at


Output = Message | Later


class Outbox:
    """Sends messages to their subjects.

    Ids derive from what a message is about, not from when it is sent: a handler that runs twice sends once.
    """

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subjects = subjects

    async def send(self, outputs: Sequence[Output]) -> None:
        """Sends all and waits until the streams have what must not be lost. An answer that stands already is fine."""
        durable = [output for output in outputs if not isinstance(output, Fleeting)]
        for output in outputs:
            if isinstance(output, Fleeting):
                await self.emit(output)
        if not durable:
            return
        first = durable[0].message if isinstance(durable[0], Later) else durable[0]
        with tracing.tracer.start_as_current_span(f"send {first.kind}", kind=SpanKind.PRODUCER) as span:
            if span.is_recording():
                span.set_attributes(
                    {
                        tracing.SYSTEM: "nats",
                        tracing.OPERATION: "send",
                        tracing.OPERATION_TYPE: "send",
                        tracing.DESTINATION: first.kind,
                        tracing.BATCH: len(durable),
                    }
                )
            if len(durable) == 1:
                await self._publish(durable[0], span)
            else:
                await asyncio.gather(*(self._publish(output, span) for output in durable))

    async def emit(self, message: Message) -> None:
        """Sends one message without waiting and without promise."""
        headers: dict[str, str] = {}
        await self._bus.emit(self._subject(message), encode(message), headers)

    async def _publish(self, output: Output, span: Span) -> None:
        message, not_before = (output.message, output.at) if isinstance(output, Later) else (output, None)
        headers: dict[str, str] = {}
        tracing.inject(span, headers)
        publication = Publication(
            subject=self._subject(message),
            payload=encode(message),
            headers=headers,
            message_id=_id(message),
            not_before=not_before,
        )
        try:
            await self._bus.publish(publication)
        except AlreadyAnswered:
            if not isinstance(message, Answer):
                raise

    def _subject(self, message: Message) -> str:
        match message:
            case Task():
                return self._subjects.task(message.tenant, message.class_)
            case Subtask():
                return self._subjects.subtask(message.specialist, message.class_, message.tenant)
            case Escalation():
                return self._subjects.escalation(message.tier, message.class_, message.tenant)
            case Result() | Deadline():
                return self._subjects.result(message.task_id)
            case Answer():
                return self._subjects.answer(message.tenant, message.task_id, message.turn)
            case Event():
                return self._subjects.event(message.tenant, message.task_id)
            case Usage():
                return self._subjects.usage(message.name)
            case Dead():
                return self._subjects.dead(message.actor)
            case Control():
                return self._subjects.control(message.verb)
            case _:
                raise TypeError(f"{type(message).__name__} has no subject")


def _id(message: Message) -> str | None:
    match message:
        case Task():
            return f"{message.tenant}.{message.task_id}.{message.turn}"
        case Subtask() | Escalation():
            return f"{message.tenant}.{message.task_id}.{message.turn}.{message.node}"
        case Result():
            # A node has at most two results: one that gives it up, one that stands.
            end = "up" if message.finding.state is State.ESCALATE else "end"
            return f"{message.tenant}.{message.task_id}.{message.turn}.{message.node}.{end}"
        case Deadline():
            return f"{message.tenant}.{message.task_id}.{message.turn}.deadline"
        case _:
            return None
