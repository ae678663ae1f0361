"""A process that takes OTLP over HTTP and writes what it got, a JSON line for each span and each metric.

    python otlp_receiver.py FILE

It prints its port on the first line and ends with SIGTERM. https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue


class Receiver:
    """The running process, seen from a test."""

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self._path = path

    def received(self, kind: str) -> list[dict[str, Any]]:
        """What came so far: "span" or "metric"."""
        lines = [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []
        return [line for line in lines if line["kind"] == kind]


@contextmanager
def otlp_receiver(directory: Path) -> Iterator[Receiver]:
    """A receiver on a free loopback port, ended on exit."""
    path = directory / "otlp.jsonl"
    with subprocess.Popen([sys.executable, __file__, path], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Receiver(f"http://127.0.0.1:{process.stdout.readline().strip()}", path)
        finally:
            process.terminate()


def main() -> None:
    """Serves until it is told to end."""
    path = Path(sys.argv[1])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            decode = {"/v1/traces": spans, "/v1/metrics": metrics}[self.path]
            with path.open("a") as file:
                file.writelines(json.dumps(line) + "\n" for line in decode(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def spans(body: bytes) -> Iterator[dict[str, Any]]:
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                yield {
                    "kind": "span",
                    "resource": resource,
                    "name": span.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "attributes": attributes(span.attributes),
                    "events": [event.name for event in span.events],
                    "error": span.status.message if span.status.code == 2 else "",
                    "ns": span.end_time_unix_nano - span.start_time_unix_nano,
                }


def metrics(body: bytes) -> Iterator[dict[str, Any]]:
    for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        resource = attributes(group.resource.attributes)
        for scope in group.scope_metrics:
            for metric in scope.metrics:
                points = [*metric.gauge.data_points, *metric.sum.data_points]
                yield {
                    "kind": "metric",
                    "resource": resource,
                    "name": metric.name,
                    "unit": metric.unit,
                    "points": [
                        {"value": point.as_double or point.as_int, "attributes": attributes(point.attributes)}
                        for point in points
                    ],
                }


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: value(pair.value) for pair in pairs if isinstance(pair, KeyValue)}


def value(of: AnyValue) -> Any:
    kind = of.WhichOneof("value")
    return [value(item) for item in of.array_value.values] if kind == "array_value" else getattr(of, kind or "", None)


if __name__ == "__main__":
    main()
