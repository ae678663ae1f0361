"""Streams and consumers as the server is told of them.

Source: https://docs.nats.io/reference/reference-protocols/nats_api_reference.
"""

from __future__ import annotations

from typing import Any

from .lanes import SHARES
from .streams import Consumer, Retention, Stream
from .wire import GROUP, HEARTBEAT_S, SECOND


def stream_config(stream: Stream) -> dict[str, Any]:
    """A stream as the server is told."""
    return {
        "name": stream.name,
        "subjects": stream.subjects,
        "retention": "workqueue" if stream.retention is Retention.WORK else "limits",
        "storage": stream.storage,
        "discard": "new" if stream.discard_new else "old",
        "discard_new_per_subject": stream.discard_new and stream.max_per_subject is not None,
        "max_age": round((stream.max_age_s or 0) * SECOND),
        "max_msgs": stream.max_messages or -1,
        "max_msgs_per_subject": stream.max_per_subject or -1,
        "max_bytes": -1,
        "num_replicas": stream.replicas,
        "duplicate_window": round(min(120.0, stream.max_age_s or 120.0) * SECOND),
        "allow_direct": True,
        "allow_msg_schedules": stream.schedules,
        **({"subject_transform": _shares(stream)} if stream.shares else {}),
    }


def _shares(stream: Stream) -> dict[str, str]:
    """`task.acme.batch` is stored as `task.acme.batch.7`: the tenant is the pattern's first wildcard."""
    prefix = stream.subjects[0].partition(".*.")[0]
    added = f"{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}.{{{{partition({SHARES},1)}}}}"
    return {"src": f"{prefix}.*.*", "dest": f"{prefix}.{added}"}


def bucket_config(bucket: str, max_age_s: float, replicas: int) -> dict[str, Any]:
    """The stream beneath an object store."""
    return {
        "name": f"OBJ_{bucket}",
        "subjects": (f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"),
        "retention": "limits",
        "storage": "file",
        "discard": "new",
        "max_age": round(max_age_s * SECOND),
        "num_replicas": replicas,
        "allow_direct": True,
        "allow_rollup_hdrs": True,
    }


def consumer_config(consumer: Consumer) -> dict[str, Any]:
    """A durable pull consumer as the server is told."""
    return {
        "name": consumer.name,
        "durable_name": consumer.name,
        "filter_subject": consumer.subject,
        "ack_policy": "explicit",
        "ack_wait": round(consumer.ack_wait_s * SECOND),
        # Without a limit: past the server's own, a work queue would keep the message and deliver it to nobody.
        "max_deliver": -1,
        "max_ack_pending": consumer.max_in_flight,
        "deliver_policy": "all",
        "replay_policy": "instant",
        **({"priority_groups": [GROUP], "priority_policy": "prioritized"} if consumer.lane else {}),
    }


def replay_config(subject: str, inbox: str, after: int) -> dict[str, Any]:
    """A short-lived consumer that pushes everything after a sequence, in order, unacknowledged."""
    start: dict[str, Any] = {"deliver_policy": "all"}
    if after:
        start = {"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1}
    return start | {
        "filter_subject": subject,
        "deliver_subject": inbox,
        "ack_policy": "none",
        "max_deliver": 1,
        "replay_policy": "instant",
        "idle_heartbeat": HEARTBEAT_S * SECOND,
        "inactive_threshold": 30 * SECOND,
        "mem_storage": True,
        "num_replicas": 1,
    }
