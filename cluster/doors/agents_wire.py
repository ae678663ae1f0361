"""What the Synadia agent protocol says: who an agent is, and what is in a prompt and in its reply's chunks."""

from __future__ import annotations

import base64
import datetime as dt
import re
from typing import Any

import msgspec

from metier.topics.errors import InvalidInput

from . import asking
from .asking import Extra

AGENT, PROTOCOL, GROUP = "metier", "0.3", "agents"
#: Between two heartbeats, and between two signs of life within a stream, in seconds.
BEAT_S = 30

_NATURAL = re.compile(r"[a-z0-9_-]+")


class MetierExtra(Extra, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an envelope may say to Metier."""

    task_id: str = ""


class Envelope(msgspec.Struct, frozen=True):
    """A prompt, or the reply to a query. Unknown fields are another's extension (section 5.6)."""

    prompt: str
    attachments: list[Any] | None = None
    metier: MetierExtra = MetierExtra()


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """One agent: the team, or a specialist alone."""

    session: str
    owner: str
    about: str
    specialists: tuple[str, ...]
    #: Of this process's service.
    id: str
    max_payload_bytes: int
    started: str

    def subject(self, verb: str) -> str:
        """Where it is prompted, asked for its status, or heard (section 2)."""
        return f"agents.{verb}.{AGENT}.{self.owner}.{self.session}"

    @property
    def identity(self) -> dict[str, Any]:
        """What every reply to discovery begins with."""
        metadata = {"agent": AGENT, "owner": self.owner, "session": self.session, "protocol_version": PROTOCOL}
        return {"name": GROUP, "id": self.id, "version": asking.VERSION, "metadata": metadata}

    @property
    def prompt_metadata(self) -> dict[str, str]:
        """Of the prompt endpoint (section 2.1)."""
        return {"max_payload": f"{self.max_payload_bytes}B", "attachments_ok": "false"}

    def info(self) -> dict[str, Any]:
        """Reply to INFO."""
        prompt = {"name": "prompt", "subject": self.subject("prompt"), "queue_group": GROUP}
        status = {"name": "status", "subject": self.subject("status"), "queue_group": GROUP}
        endpoints = [{**prompt, "metadata": self.prompt_metadata}, {**status, "metadata": {}}]
        kind = "io.nats.micro.v1.info_response"
        return {"type": kind, **self.identity, "description": self.about, "endpoints": endpoints}

    def ping(self) -> dict[str, Any]:
        """Reply to PING."""
        return {"type": "io.nats.micro.v1.ping_response", **self.identity}

    def beat(self) -> dict[str, Any]:
        """A heartbeat (section 8.3)."""
        return {
            "agent": AGENT,
            "owner": self.owner,
            "session": self.session,
            "instance_id": self.id,
            "ts": now(),
            "interval_s": BEAT_S,
            "protocol_version": PROTOCOL,
            "endpoints": {"prompt": {"subject": self.subject("prompt"), "metadata": self.prompt_metadata}},
        }

    def stats(self, requests: int, errors: int, nanoseconds: int) -> dict[str, Any]:
        """Reply to STATS, of the prompt endpoint alone."""
        prompt = {
            "name": "prompt",
            "subject": self.subject("prompt"),
            "queue_group": GROUP,
            "num_requests": requests,
            "num_errors": errors,
            "last_error": "",
            "processing_time": nanoseconds,
            "average_processing_time": nanoseconds // max(1, requests),
        }
        return {
            "type": "io.nats.micro.v1.stats_response",
            **self.identity,
            "started": self.started,
            "endpoints": [prompt],
        }


_envelope = msgspec.json.Decoder(Envelope)


def read(payload: bytes) -> Envelope:
    """A prompt: JSON if it begins so, else plain text (section 5.3). Raises InvalidInput."""
    try:
        if payload.lstrip(b" \t\r\n").startswith(b"{"):
            envelope = _envelope.decode(payload)
        else:
            envelope = Envelope(prompt=payload.decode())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(reason=f"the prompt is neither an envelope nor text: {error}") from None
    if envelope.attachments:
        raise InvalidInput(reason="this agent takes no attachments")
    return envelope


def chunk(kind: str, data: object) -> bytes:
    """One part of a reply (section 6.2)."""
    return msgspec.json.encode({"type": kind, "data": data})


def natural(name: str) -> str:
    """A name as a token of the protocol: as it is, or encoded if it has other letters, as Synadia's own hosts do."""
    if _NATURAL.fullmatch(name):
        return name
    return base64.urlsafe_b64encode(name.encode()).rstrip(b"=").decode()


def now() -> str:
    """The time as the protocol writes it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
