"""Spans that cost little: OpenTelemetry's API on plain objects, at a quarter of its SDK's time for each span.

A task is about twenty spans, and hundreds of tasks a second share two cores with the models. What a span is, how it
is sampled and how context travels are as specified (https://opentelemetry.io/docs/specs/otel/trace/sdk/: parent-based
ratio sampling); limits on attributes, and processors, are left out. `telemetry.py` gives finished spans to an exporter.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import getrandbits
from types import TracebackType
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

log = logging.getLogger("metier.telemetry")

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_DROPPED = TraceFlags(TraceFlags.DEFAULT)
#: Finished spans that wait for the exporter; more are dropped, counted, and told in the log.
WAITING_LIMIT = 50_000
#: Short, so that what is exported at once holds the interpreter for a fraction of a millisecond.
EXPORT_EVERY_S = 0.1
BATCH = 512

Export = Callable[[Sequence["Span"]], None]


class Span(trace.Span):
    """One span, written by the code that it measures and read by an exporter once it has ended."""

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        start_ns: int,
        ended: Callable[[Span], None],
    ) -> None:
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.attributes: dict[str, Any] = dict(attributes) if attributes else {}
        self.links = links
        self.events: list[tuple[str, dict[str, Any], int]] = []
        self.status: Status | None = None
        self.start_ns = start_ns
        self.end_ns = 0
        self._ended = ended

    def get_span_context(self) -> SpanContext:
        """Its ids."""
        return self.context

    def is_recording(self) -> bool:
        """Until it ends."""
        return not self.end_ns

    def end(self, end_time: int | None = None) -> None:
        """Ends it; a second call changes nothing."""
        if not self.end_ns:
            self.end_ns = end_time or time.time_ns()
            self._ended(self)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Notes a value."""
        if not self.end_ns:
            self.attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Notes values."""
        if not self.end_ns:
            self.attributes.update(attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Notes that something happened."""
        if not self.end_ns:
            self.events.append((name, dict(attributes or {}), timestamp or time.time_ns()))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Names a span that led to this one besides its parent."""
        if not self.end_ns:
            self.links = (*self.links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        """Renames it."""
        if not self.end_ns:
            self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """How it went: OK stands for good, unset is ignored."""
        new = status if isinstance(status, Status) else Status(status, description)
        ok = self.status is not None and self.status.status_code is StatusCode.OK
        if not (self.end_ns or ok or new.status_code is StatusCode.UNSET):
            self.status = new

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Notes an error and where it was raised."""
        told = {
            "exception.type": type(exception).__qualname__,
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**told, **(attributes or {})}, timestamp)


class _Current:
    """Makes a span the current one for a block, and ends it."""

    __slots__ = ("_end", "_record", "_span", "_status", "_token")

    def __init__(self, span: trace.Span, end: bool, record: bool, status: bool) -> None:
        self._span, self._end, self._record, self._status = span, end, record, status

    def __enter__(self) -> trace.Span:
        self._token = attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        detach(self._token)
        if isinstance(error, Exception) and self._span.is_recording():
            if self._record:
                self._span.record_exception(error)
            if self._status:
                self._span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
        if self._end:
            self._span.end()


class Tracer(trace.Tracer):
    """Starts spans: children follow their parent's sampling, a share of the roots is recorded."""

    def __init__(self, share: float, ended: Callable[[Span], None]) -> None:
        self.share = share
        self._ended = ended

    @property
    def share(self) -> float:
        """How much of what starts here is recorded, from 0 to 1."""
        return self._bound / (1 << 64)

    @share.setter
    def share(self, share: float) -> None:
        self._bound = round(share * (1 << 64))

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """A span that is not the current one."""
        parent = trace.get_current_span(context).get_span_context()
        if parent.is_valid:
            trace_id, flags = parent.trace_id, _SAMPLED if parent.trace_flags.sampled else _DROPPED
            own = SpanContext(trace_id, getrandbits(64) or 1, False, flags, parent.trace_state)
        else:
            trace_id = getrandbits(128) or 1
            flags = _SAMPLED if trace_id & 0xFFFF_FFFF_FFFF_FFFF < self._bound else _DROPPED
            own = SpanContext(trace_id, getrandbits(64) or 1, False, flags)
        if flags is _DROPPED:
            return trace.NonRecordingSpan(own)
        start_ns = start_time or time.time_ns()
        above = parent if parent.is_valid else None
        return Span(name, own, above, kind, attributes, links or (), start_ns, self._ended)

    # The API's generator costs as much again as the span; what is lost is use as a decorator.
    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> _Current:
        """A span that is the current one for a block."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        return _Current(span, end_on_exit, record_exception, set_status_on_exception)


class Queue:
    """Finished spans on their way out: a thread exports them a moment after they ended."""

    def __init__(self, export: Export) -> None:
        self.dropped = 0
        self._export = export
        self._spans: deque[Span] = deque()
        self._exporting = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="metier-spans", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Takes a span that has ended."""
        if len(self._spans) < WAITING_LIMIT:
            self._spans.append(span)
        else:
            self.dropped += 1

    def flush(self) -> None:
        """Returns when every span that had ended is exported."""
        with self._exporting:
            while self._spans:
                batch = [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))]
                try:
                    self._export(batch)
                except Exception:
                    log.exception("%d spans are lost", len(batch), extra={"action": "export_error"})
            if self.dropped:
                log.warning("%d spans are lost: the exporter is too slow", self.dropped, extra={"action": "drop_spans"})
                self.dropped = 0

    def close(self) -> None:
        """Exports what waits and ends the thread."""
        self._closing.set()
        self._thread.join()
        self.flush()

    def _run(self) -> None:
        while not self._closing.wait(EXPORT_EVERY_S):
            if self._spans:
                self.flush()
