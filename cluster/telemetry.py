"""Where spans and metrics go: to an OTLP endpoint if there is one, else spans into the state directory.

The one user of OpenTelemetry's SDK. Besides the team file it obeys the variables of
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ that name endpoint, headers,
resource attributes, metric interval, and OTEL_SDK_DISABLED.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opentelemetry import metrics, trace

from metier.topics import tracing

from .spans import Export, Queue, Span, Tracer
from .team import Telemetry
from .traces import Store

TRACES = "traces"


class _Provider(trace.TracerProvider):
    """The process's tracers: all are one. It can be closed and opened again, which the SDK's cannot."""

    def __init__(self) -> None:
        self._queue: Queue | None = None
        self._closers: list[Callable[[], object]] = []
        self._tracer = Tracer(0.0, self._ended)

    def get_tracer(self, *_: Any, **__: Any) -> trace.Tracer:
        return self._tracer

    @property
    def is_open(self) -> bool:
        return self._queue is not None

    def open(self, share: float, export: Export, *closers: Callable[[], object]) -> None:
        self._queue = Queue(export)
        self._closers = list(closers)
        self._tracer.share = share

    def flush(self) -> None:
        if self._queue:
            self._queue.flush()

    def close(self) -> None:
        queue, self._queue = self._queue, None
        self._tracer.share = 0.0
        if queue:
            queue.close()
            for close in self._closers:
                close()

    def _ended(self, span: Span) -> None:
        if self._queue:
            self._queue.put(span)


_provider = _Provider()


def setup(*, service: str, telemetry: Telemetry, directory: str | None) -> None:
    """Traces this process from now on; a second call changes nothing.

    Without an endpoint and without a directory nothing is recorded.
    """
    endpoint = endpoint_of(telemetry)
    if _provider.is_open or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    if endpoint:
        export, closers = _otlp(service, endpoint)
        _provider.open(telemetry.sampling, export, *closers)
    elif directory:
        store = Store(Path(directory) / TRACES, service)
        _provider.open(telemetry.sampling, store.write, store.close)
    else:
        return
    if trace.get_tracer_provider() is not _provider:
        trace.set_tracer_provider(_provider)
        tracing.tracer = trace.get_tracer_provider().get_tracer("metier")


def flush() -> None:
    """Returns when every span that has ended is where it belongs."""
    _provider.flush()


def shutdown() -> None:
    """Exports what is left and stops tracing."""
    _provider.close()


def endpoint_of(telemetry: Telemetry) -> str | None:
    """Where OTLP goes: the team file's word, then the environment's."""
    return telemetry.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None


def _otlp(service: str, endpoint: str) -> tuple[Export, list[Callable[[], object]]]:
    """Exports to a collector: spans through what is returned, metrics on their own clock."""
    # Here: a process without an endpoint loads neither the SDK nor protobuf.
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    base = endpoint.rstrip("/")
    resource = Resource.create(
        {
            "service.namespace": "metier",
            "service.name": service,
            "service.instance.id": f"{service}-{socket.gethostname()}-{os.getpid()}",
            "service.version": version("metier"),
        }
    )
    spans = OTLPSpanExporter(endpoint=f"{base}/v1/traces")
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=f"{base}/v1/metrics"))
    meters = MeterProvider([reader], resource, shutdown_on_exit=False)
    metrics.set_meter_provider(meters)

    def export(batch: Sequence[Span]) -> None:
        spans.export([_readable(span, resource) for span in batch])

    return export, [spans.shutdown, meters.shutdown]


def _readable(span: Span, resource: Any) -> Any:
    """The span as the SDK's exporters read it."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=resource,
        attributes=span.attributes,
        events=[Event(name, attributes, at) for name, attributes, at in span.events],
        links=span.links,
        kind=span.kind,
        status=span.status or trace.Status(),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope("metier", version("metier")),
    )
