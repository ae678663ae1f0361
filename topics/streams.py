"""The streams and consumers of a team, declared as data and made by `Bus.ensure`."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec

from .lanes import CLASSES, LANES
from .subjects import Subjects

DAY_S = 86_400.0
#: Tasks that may wait for the router, of all tenants, and of one tenant and class.
TASKS_WAITING, TASKS_WAITING_PER_TENANT = 100_000, 20_000


class Retention(StrEnum):
    """When a stream forgets a message."""

    #: When its one consumer has acknowledged it.
    WORK = "work"
    #: When it is older, or there are more, than the stream allows.
    LIMITS = "limits"


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """One JetStream stream. Source: https://docs.nats.io/nats-concepts/jetstream/streams."""

    name: str
    subjects: tuple[str, ...]
    retention: Retention = Retention.WORK
    storage: Literal["file", "memory"] = "file"
    max_age_s: float | None = None
    max_messages: int | None = None
    max_per_subject: int | None = None
    #: A share is added to a subject of its pattern (`lanes.py`): the tenant is its first token after the kind.
    shares: bool = False
    #: A full stream refuses the new message instead of forgetting the oldest.
    discard_new: bool = False
    #: Messages may be held back until a time (`Publication.not_before`); not together with `discard_new`.
    schedules: bool = False
    replicas: int = 1


class Consumer(msgspec.Struct, frozen=True, kw_only=True):
    """One durable pull consumer: the actor's name on a stream."""

    stream: str
    name: str
    subject: str
    #: A message not settled by then is delivered again.
    ack_wait_s: float = 6.0
    #: The loop buries a message at its last attempt; the bus itself delivers until a message is settled.
    max_attempts: int = 5
    #: How many messages all replicas together may hold.
    max_in_flight: int = 1024
    #: The actor has a consumer on the server for each lane below `subject`.
    laned: bool = False
    #: It is one of those: its pull requests say how urgent they are.
    lane: bool = False

    def asks_for_s(self, limit_s: float) -> float:
        """How long a request for messages stands, in seconds; `limit_s` at most.

        A message goes to the requests of a replica that was cut off until they end, and each time counts as an attempt:
        half of the attempts are left to the others.
        """
        return min(limit_s, max(1.0, self.ack_wait_s * (self.max_attempts - 1) / 2))

    def each(self) -> tuple[Consumer, ...]:
        """The consumers on the server: itself, or one for each lane."""
        if not self.laned:
            return (self,)
        return tuple(
            msgspec.structs.replace(
                self,
                name=f"{self.name}-{class_}-{share}",
                subject=f"{self.subject}.{class_}.{share}",
                laned=False,
                lane=True,
            )
            for class_, share in LANES
        )


TASKS, SUBTASKS, ESCALATIONS, RESULTS = "TASKS", "SUBTASKS", "ESCALATIONS", "RESULTS"
ANSWERS, EVENTS, USAGE, DEAD, LEDGER = "ANSWERS", "EVENTS", "USAGE", "DEAD", "LEDGER"


def streams(subjects: Subjects, replicas: int = 1) -> tuple[Stream, ...]:
    """The nine streams of a team; `replicas` is the number of broker nodes that hold each."""
    s, all_ = subjects, subjects.everything
    named = subjects.stream
    return (
        # The door: who publishes to a full one is told so at once, and what is in may be finished. One tenant alone
        # cannot fill it.
        Stream(
            name=named(TASKS),
            subjects=tuple(s.task("*", class_) for class_ in CLASSES),
            shares=True,
            max_messages=TASKS_WAITING,
            max_per_subject=TASKS_WAITING_PER_TENANT,
            discard_new=True,
            replicas=replicas,
        ),
        # Without a bound: a stream that refused these would leave an accepted task without its answer. They come of
        # accepted tasks alone, and the router takes no more of those while too many wait here (WITHIN in `router.py`).
        Stream(name=named(SUBTASKS), subjects=(all_("subtask"),), replicas=replicas),
        Stream(name=named(ESCALATIONS), subjects=(all_("escalation"),), replicas=replicas),
        # Deadlines wait here, scheduled, and come out as results. Without a bound for the same reason.
        Stream(name=named(RESULTS), subjects=(all_("result"), all_("schedule")), schedules=True, replicas=replicas),
        # One message per subject, the first one stays: a task has exactly one answer.
        Stream(
            name=named(ANSWERS),
            subjects=(all_("answer"),),
            retention=Retention.LIMITS,
            max_age_s=DAY_S,
            max_per_subject=1,
            discard_new=True,
            replicas=replicas,
        ),
        Stream(
            name=named(EVENTS),
            subjects=(all_("event"),),
            retention=Retention.LIMITS,
            storage="memory",
            max_age_s=600,
            max_messages=200_000,
        ),
        Stream(
            name=named(USAGE),
            subjects=(all_("usage"),),
            retention=Retention.LIMITS,
            max_age_s=30 * DAY_S,
            max_messages=5_000_000,
            replicas=replicas,
        ),
        Stream(
            name=named(DEAD),
            subjects=(all_("dead"),),
            retention=Retention.LIMITS,
            max_age_s=30 * DAY_S,
            max_messages=100_000,
            replicas=replicas,
        ),
        # The ledger: the last value of each key, kept a day.
        Stream(
            name=named(LEDGER),
            subjects=(s.ledger(">"),),
            retention=Retention.LIMITS,
            max_age_s=DAY_S,
            max_per_subject=1,
            replicas=replicas,
        ),
    )
