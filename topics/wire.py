"""The JetStream wire protocol as far as Metier speaks it: subjects, headers, codes, bytes. Nothing here sends.

Source: https://docs.nats.io/reference/reference-protocols/nats_api_reference and the NATS architecture decision
records 4 (headers), 13 (pull), 15 (acks), 31 (direct get) and 51 (schedules).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from .errors import AlreadyAnswered, BusUnavailable, Busy, Conflict, MetierError, Refused, Unknown
from .subjects import Subjects

MESSAGE_ID = "Nats-Msg-Id"
EXPECTED_REVISION = "Nats-Expected-Last-Subject-Sequence"
SCHEDULE, SCHEDULE_TARGET = "Nats-Schedule", "Nats-Schedule-Target"
STATUS, DESCRIPTION, PENDING = "Status", "Description", "Nats-Pending-Messages"
LAST_CONSUMER = "Nats-Last-Consumer"
#: Names the object that holds a payload too large for one message.
REFERENCE = "Metier-Reference"

ACK, NAK, TERM, IN_PROGRESS = b"+ACK", b"-NAK", b"+TERM", b"+WPI"

#: A request of a pull stands so long at most.
EXPIRES_S = 30
HEARTBEAT_S = 5
#: A request on a lane waits so long at the server, without heartbeats: there are many of them.
STANDING_S = 15
#: What a request is told whose next message is larger than it may bring.
TOO_LARGE = "Message Size Exceeds MaxBytes"
#: Pull requests on a lane are of this group; those of the lowest priority, counted from 0, are served first.
GROUP = "lane"
_LAST = 9

SECOND = 1_000_000_000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Message(Protocol):
    """What a connection delivers."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str] | None


#: Called with each message of a subscription.
Callback = Callable[[Any], Awaitable[None]]


class Subscription(Protocol):
    """Interest in a subject."""

    @property
    def subject(self) -> str:
        """What it listens to."""
        ...


class Connection(Protocol):
    """The part of a NATS connection that Metier uses. Its methods raise BusUnavailable."""

    @property
    def url(self) -> str:
        """Where it leads, without credentials."""
        ...

    @property
    def connects(self) -> int:
        """How often it was made anew: the server has then forgotten every pull request."""
        ...

    async def publish(
        self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Sends one message; buffers it while there is no server."""
        ...

    async def publish_later(self, subject: str, payload: bytes) -> None:
        """Sends a message that nobody waits for, with the next one or a moment later: it costs nobody a wake-up."""
        ...

    async def subscribe(self, subject: str, callback: Callback, group: str = "") -> Subscription:
        """Calls back for every message on a subject, one at a time; each message for one of a group."""
        ...

    async def leave(self, subscription: Subscription, drain: bool = False) -> None:
        """Ends interest; with `drain`, returns when what was under way has arrived."""
        ...

    async def flush(self) -> None:
        """Returns when the server has read everything sent so far."""
        ...

    def new_inbox(self) -> str:
        """A subject nobody else has."""
        ...


class Fault(msgspec.Struct, frozen=True):
    """Why JetStream refused."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Reply(msgspec.Struct, frozen=True):
    """What JetStream answers to a publish; to other requests, too, as far as it says whether they failed."""

    error: Fault | None = None
    seq: int = 0
    duplicate: bool = False


class _State(msgspec.Struct, frozen=True):
    messages: int = 0


class StreamInfo(Reply, frozen=True):
    """The part of STREAM.INFO that Metier reads."""

    state: _State = _State()


class _Delivered(msgspec.Struct, frozen=True):
    consumer_seq: int = 0


class ConsumerInfo(Reply, frozen=True):
    """The part of CONSUMER.INFO that Metier reads."""

    name: str = ""
    delivered: _Delivered = _Delivered()
    num_pending: int = 0
    num_ack_pending: int = 0
    num_redelivered: int = 0


class Receipt(msgspec.Struct, frozen=True):
    """What the reply subject of a delivery says about it."""

    attempt: int
    sequence: int
    consumer_sequence: int
    at: dt.datetime

    @staticmethod
    def attempt_of(reply: str) -> int:
        """How often the message was delivered: all that most readers ask."""
        tokens = reply.split(".", 7)
        # The second form has four tokens more than the first one's nine.
        return int(tokens[4] if reply.count(".") == 8 else tokens[6])

    @staticmethod
    def consumer_and_pending(reply: str) -> tuple[str, int]:
        """Whose delivery it is, and how many more wait for that consumer."""
        tokens = reply.split(".")
        first = 3 if len(tokens) == 9 else 5
        return tokens[first], int(tokens[first + 5])

    @classmethod
    def parse(cls, reply: str) -> Receipt:
        """Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<ns>.<pending>`.

        The second form has a domain and an account hash before the stream, and may end in a random token.
        """
        tokens = reply.split(".")
        first = 4 if len(tokens) == 9 else 6
        attempt, sequence, consumer_sequence, at = tokens[first : first + 4]
        return cls(int(attempt), int(sequence), int(consumer_sequence), moment(int(at)))


def moment(nanoseconds: int) -> dt.datetime:
    """The time, in UTC, so many nanoseconds after the epoch."""
    return _EPOCH + dt.timedelta(microseconds=nanoseconds // 1000)


def nak(delay_s: float) -> bytes:
    """A refusal that asks for another delivery after the delay."""
    return NAK + b' {"delay": %d}' % (delay_s * SECOND) if delay_s > 0 else NAK


def next_request(batch: int, expires_s: float) -> bytes:
    """Asks a consumer for `batch` messages; it says so when it has had none until it expires, and lives in between."""
    heartbeat_s = min(HEARTBEAT_S, expires_s / 2)  # the server refuses more
    return b'{"batch":%d,"expires":%d,"idle_heartbeat":%d}' % (batch, expires_s * SECOND, heartbeat_s * SECOND)


def at_once_request(batch: int) -> bytes:
    """Asks a lane for `batch` messages; it says at once when there are fewer."""
    return b'{"group":"%b","batch":%d,"no_wait":true}' % (GROUP.encode(), batch)


def standing_request(batch: int, expires_s: float) -> bytes:
    """Asks a lane for `batch` messages, as they come; it says when it has expired."""
    return b'{"group":"%b","batch":%d,"expires":%d}' % (GROUP.encode(), batch, expires_s * SECOND)


def knock_request() -> bytes:
    """Asks a lane for one message of one byte, after everyone else: it says TOO_LARGE when one waits."""
    return b'{"group":"%b","priority":%d,"batch":1,"max_bytes":1,"expires":%d}' % (
        GROUP.encode(),
        _LAST,
        STANDING_S * SECOND,
    )


def scheduled(subjects: Subjects, target: str, message_id: str, at: dt.datetime) -> tuple[str, dict[str, str]]:
    """Where a message waits for its time, and the headers that send it on.

    The subject is the target's with `schedule` for its kind and a digest of the id at its end: a stream keeps one
    schedule per subject.
    """
    tail = target.removeprefix(f"{subjects.root}.").partition(".")[2]
    digest = hashlib.blake2s(message_id.encode(), digest_size=10).hexdigest()
    headers = {SCHEDULE: f"@at {rfc3339(at)}", SCHEDULE_TARGET: target}
    return f"{subjects.root}.schedule.{tail}.{digest}", headers


def rfc3339(at: dt.datetime) -> str:
    """The time in UTC as NATS reads it."""
    return at.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str) -> dt.datetime:
    """A time as NATS writes it: up to nine decimals, more than Python reads."""
    seconds, _, decimals = text.removesuffix("Z").partition(".")
    return dt.datetime.fromisoformat(f"{seconds}.{decimals[:6]:0<6}+00:00")


def refusal(fault: Fault, subjects: Subjects, subject: str, headers: Mapping[str, str]) -> MetierError:
    """What a publisher is told when a stream said no."""
    if fault.err_code in (10071, 10164):
        key = subject.removeprefix(subjects.ledger(""))
        return Conflict(key=key, revision=headers.get(EXPECTED_REVISION), reason=fault.description)
    if fault.err_code == 10077:
        if subject.startswith(f"{subjects.root}.answer."):
            return AlreadyAnswered(subject=subject, reason=fault.description)
        return Busy(reason=f"the stream of {subject} is full: {fault.description}")
    return Refused(reason=f"{subject}: {fault.description} ({fault.err_code})")


def unavailable(fault: Fault) -> bool:
    """Whether the same request may succeed in a moment: no leader, or JetStream is starting."""
    return fault.code == 503 and fault.err_code != 10077


def checked(fault: Fault | None, what: str, url: str) -> None:
    """Raises what a failed API request means: Unknown, BusUnavailable or Refused."""
    if fault is None:
        return
    if fault.code == 404:
        raise Unknown(name=what, reason=fault.description)
    if unavailable(fault):
        raise BusUnavailable(url=url, reason=f"{what}: {fault.description}")
    raise Refused(reason=f"{what}: {fault.description} ({fault.err_code})")
