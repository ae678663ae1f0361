"""Trace context on the bus, and every span and attribute name Metier uses.

Names follow the OpenTelemetry conventions for messaging (semantic-conventions 1.44) and generative AI
(semantic-conventions-genai, 2026); both are in development, so they stand here alone. Span names carry destination
templates, never ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, TraceFlags

#: The API's, until `cluster/telemetry.py` puts its own here: the API's proxy adds a third to what a span costs.
tracer: trace.Tracer = trace.get_tracer("metier")

TRACEPARENT: Final = "traceparent"

# Span names: an operation and, after a space, what it is done to.
INVOKE_WORKFLOW: Final = "invoke_workflow"
PLAN: Final = "plan"
INVOKE_AGENT: Final = "invoke_agent"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"

# Messaging.
SYSTEM: Final = "messaging.system"
OPERATION: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.template"
CONSUMER: Final = "messaging.consumer.group.name"
BATCH: Final = "messaging.batch.message_count"

# Generative AI.
GEN_OPERATION: Final = "gen_ai.operation.name"
GEN_PROVIDER: Final = "gen_ai.provider.name"
GEN_MODEL: Final = "gen_ai.request.model"
GEN_AGENT: Final = "gen_ai.agent.name"
GEN_TOOL: Final = "gen_ai.tool.name"
GEN_TOKEN_TYPE: Final = "gen_ai.token.type"
GEN_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
GEN_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"

# Metier's own.
TASK: Final = "metier.task.id"
NODE: Final = "metier.node"
STATE: Final = "metier.state"
REASON: Final = "metier.reason"
CONFIDENCE: Final = "metier.confidence"


def inject(span: Span, headers: dict[str, str]) -> None:
    """Writes the span as W3C `traceparent` (https://www.w3.org/TR/trace-context/#traceparent-header)."""
    context = span.get_span_context()
    if context.is_valid:
        headers[TRACEPARENT] = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def extract(headers: Mapping[str, str]) -> Context | None:
    """The context a `traceparent` header names; None without one, or with one that is not valid."""
    context = parse(headers.get(TRACEPARENT, ""))
    return trace.set_span_in_context(NonRecordingSpan(context)) if context else None


def parse(traceparent: str) -> SpanContext | None:
    """The span a `traceparent` names; None if it is not valid."""
    parts = traceparent.split("-")
    if len(parts) < 4:
        return None
    try:
        context = SpanContext(
            trace_id=int(parts[1], 16),
            span_id=int(parts[2], 16),
            is_remote=True,
            trace_flags=TraceFlags(int(parts[3], 16)),
        )
    except ValueError:
        return None
    return context if context.is_valid else None


def link(span: Span, traceparents: Iterable[str]) -> None:
    """Links a span to others that it continues beside its parent: where several results come together."""
    if span.is_recording():
        for traceparent in traceparents:
            if context := parse(traceparent):
                span.add_link(context)


def trace_id(span: Span) -> str:
    """The trace's id as 32 hexadecimal digits; empty when nothing is traced."""
    context = span.get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""
