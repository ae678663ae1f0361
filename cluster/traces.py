"""Traces kept on this machine: one line of JSON for each span, one file for each process, read back by trace id."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from opentelemetry.trace import StatusCode

from metier.topics import tracing

from .spans import Span

#: A file that has grown to this size becomes the old one, and the old one goes.
FILE_LIMIT_BYTES = 32 * 1024 * 1024
#: Files of earlier processes are kept as long as answers are.
KEPT_S = 86_400.0


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One finished span."""

    #: 32 hexadecimal digits.
    trace: str
    #: 16 hexadecimal digits.
    span: str
    #: The same; empty for the first span of a trace.
    parent: str = ""
    name: str
    #: Which actor, or the client.
    service: str
    pid: int
    kind: str
    #: Nanoseconds since 1970.
    start_ns: int
    end_ns: int
    attributes: dict[str, Any] = {}
    #: Why it failed; empty if it did not.
    error: str = ""
    #: Spans of other branches that led to it, as "trace-span".
    links: tuple[str, ...] = ()

    @property
    def ms(self) -> float:
        """How long it took, in milliseconds."""
        return (self.end_ns - self.start_ns) / 1e6


_encoder = msgspec.json.Encoder(enc_hook=str)
_decoder = msgspec.json.Decoder(Record)


class Store:
    """Writes the spans of one process into a folder."""

    def __init__(self, folder: Path, service: str, limit_bytes: int = FILE_LIMIT_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _forget(folder)
        self._service = service
        self._pid = os.getpid()
        self._limit_bytes = limit_bytes
        self._path = folder / f"{service}-{self._pid}.jsonl"
        self._file = self._path.open("ab", buffering=0)
        self._size_bytes = self._file.tell()

    def write(self, spans: Sequence[Span]) -> None:
        """Appends spans, in one write."""
        lines = _encoder.encode_lines([self._record(span) for span in spans])
        if self._size_bytes + len(lines) > self._limit_bytes:
            self._file.close()
            self._path.replace(self._path.with_suffix(".old.jsonl"))
            self._file = self._path.open("ab", buffering=0)
            self._size_bytes = 0
        self._file.write(lines)
        self._size_bytes += len(lines)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _record(self, span: Span) -> Record:
        context, status = span.context, span.status
        failed = status is not None and status.status_code is StatusCode.ERROR
        return Record(
            trace=f"{context.trace_id:032x}",
            span=f"{context.span_id:016x}",
            parent=f"{span.parent.span_id:016x}" if span.parent else "",
            name=span.name,
            service=self._service,
            pid=self._pid,
            kind=span.kind.name.lower(),
            start_ns=span.start_ns,
            end_ns=span.end_ns,
            attributes=span.attributes,
            error=(status.description or "error") if status and failed else "",
            links=tuple(f"{link.context.trace_id:032x}-{link.context.span_id:016x}" for link in span.links),
        )


def read(folder: Path, trace_id: str) -> list[Record]:
    """The spans of one trace in order of their start; empty when none is kept."""
    head = f'{{"trace":"{trace_id}"'.encode()
    found: list[Record] = []
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # another process rotates as we read
            found += [_decoder.decode(line) for line in file if line.startswith(head) and line.endswith(b"\n")]
    return sorted(found, key=lambda record: record.start_ns)


def _forget(folder: Path) -> None:
    oldest = dt.datetime.now(dt.UTC).timestamp() - KEPT_S
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):  # another process forgot it first
            if path.stat().st_mtime < oldest:
                path.unlink()


def of_task(folder: Path, task_id: str) -> dict[str, list[Record]]:
    """The spans of every turn of a task, by trace id, the first turn first."""
    mark = f'"{tracing.TASK}":{msgspec.json.encode(task_id).decode()}'.encode()
    ids: dict[str, int] = {}
    for path in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            for line in file:
                if mark in line and line.endswith(b"\n"):
                    record = _decoder.decode(line)
                    ids[record.trace] = min(record.start_ns, ids.get(record.trace, record.start_ns))
    return {trace_id: read(folder, trace_id) for trace_id in sorted(ids, key=ids.__getitem__)}
