"""The messages, in the order a task meets them.

Each is a frozen struct whose `type` carries name and version (`"task/1"`). Unknown fields are refused: a message
that is not understood is buried with its reason, never half read.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from .errors import EmptyText, InvalidValue, TextTooLong
from .subjects import token

TEXT_LIMIT = 8_000

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all messages share."""

    kind: ClassVar[str]
    version: ClassVar[int] = 1


class Class(StrEnum):
    """How urgent a task is."""

    #: Somebody waits for the answer.
    INTERACTIVE = "interactive"
    #: Nobody waits: it yields to interactive tasks.
    BATCH = "batch"


class Privacy(StrEnum):
    """Where a task's text may go."""

    #: Any model of the team, a hosted one too.
    ANY = "any"
    #: Only models that run inside the cluster.
    LOCAL = "local"


class State(StrEnum):
    """How a subtask, or a whole task, ended."""

    OK = "ok"
    #: The specialist is not sure, or the task is open: a larger model should answer.
    ESCALATE = "escalate"
    #: Something only the asker knows is missing.
    INPUT_REQUIRED = "input_required"
    #: It cannot be done, and the reason says why.
    FAILED = "failed"
    #: Its deadline passed.
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Context(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the asker's words are relative to."""

    #: The asker's day: "next Friday" counts from here. Default: the day the task was accepted, in `time_zone`.
    date: dt.date | None = None
    #: IANA name, for example "Europe/Paris".
    time_zone: str = "UTC"
    #: The city a journey starts from when the text names none.
    home: str | None = None


class Task(Message, tag="task/1", frozen=True, kw_only=True):
    """A request, client to router."""

    kind = "task"

    #: Chosen by the client. Left empty, the router names the task after its place in the stream: "task-17".
    task_id: str = ""
    #: What is asked, in plain words.
    text: str
    tenant: str = "default"
    class_: Class = msgspec.field(default=Class.INTERACTIVE, name="class")
    #: 1 for a new task; one more for each follow-up that supplies what was missing.
    turn: Annotated[int, msgspec.Meta(ge=1, le=100)] = 1
    #: Seconds from acceptance to the answer, whatever is done by then.
    deadline_s: Seconds = 30.0
    privacy: Privacy = Privacy.ANY
    #: What the task may cost on priced models, in USD; none: no bound.
    budget_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    context: Context = Context()
    #: These work on it, and nobody else; none: the router chooses.
    specialists: tuple[str, ...] = ()

    def check(self) -> Task:
        """Itself, if it can be published. Raises EmptyText, TextTooLong, InvalidToken or InvalidValue."""
        if not self.text.strip():
            raise EmptyText
        if len(self.text) > TEXT_LIMIT:
            raise TextTooLong(actual=len(self.text), limit=TEXT_LIMIT)
        if self.task_id:
            token(self.task_id, "task id")
        token(self.tenant, "tenant")
        for name in self.specialists:
            token(name, "specialist")
        _check_time_zone(self.context.time_zone)
        return self


def _check_time_zone(name: str) -> None:
    from zoneinfo import ZoneInfo  # here: its data is read only when a task names a zone

    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise InvalidValue(value=name, kind="time zone", reason="use an IANA name such as Europe/Paris") from error


class Tokens(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one model call used."""

    #: The model as it should be shown, for example "SmolLM2-135M-Instruct + trip-tools".
    model: str
    prompt: int = 0
    output: int = 0
    seconds: float = 0.0
    cost_usd: float = 0.0
    #: The bundled base model stood in for a large one.
    stand_in: bool = False


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One tool call: what the model said and what it was understood as."""

    tool: str
    #: Arguments copied from the text as the model chose them.
    said: dict[str, Any] = {}
    #: The same after normalisation, as the tool received them.
    arguments: dict[str, Any] = {}


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one node of a plan came to: the part of a result that the ledger and the answer keep."""

    state: State
    specialist: str
    #: What a person reads.
    text: str = ""
    #: What the tool returned, for other specialists and programs.
    data: Any = None
    call: Call | None = None
    #: Why it is not ok.
    reason: str | None = None
    #: Names of what the asker has to supply.
    missing: tuple[str, ...] = ()
    #: Probability that the call is right, as the specialist sees it.
    confidence: float | None = None
    tokens: tuple[Tokens, ...] = ()


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """A task's entry in the ledger as it stood when an order was given: who merges the result need not read it."""

    revision: int
    value: bytes


class Subtask(Message, tag="subtask/1", frozen=True, kw_only=True):
    """One node of a plan, router or aggregator to specialist."""

    kind = "subtask"

    task_id: str
    tenant: str
    turn: int
    node: str
    specialist: str
    text: str
    context: Context
    deadline: dt.datetime
    class_: Class = msgspec.field(default=Class.INTERACTIVE, name="class")
    privacy: Privacy = Privacy.ANY
    #: Findings of the nodes this one needs, by node.
    inputs: dict[str, Finding] = {}
    #: To be sent back with the result; left out where it is large.
    recorded: Recorded | None = None


class Escalation(Message, tag="escalation/1", frozen=True, kw_only=True):
    """One node for a large model, router or aggregator to expert."""

    kind = "escalation"

    task_id: str
    tenant: str
    turn: int
    node: str
    tier: str
    #: Who gave it up: "router", or a specialist.
    source: str
    reason: str
    text: str
    context: Context
    deadline: dt.datetime
    class_: Class = msgspec.field(default=Class.INTERACTIVE, name="class")
    privacy: Privacy = Privacy.ANY
    budget_usd: float | None = None
    inputs: dict[str, Finding] = {}
    recorded: Recorded | None = None


class Result(Message, tag="result/1", frozen=True, kw_only=True):
    """What became of a node, specialist or expert to aggregator."""

    kind = "result"

    task_id: str
    tenant: str
    turn: int
    node: str
    finding: Finding
    #: As it came with the order.
    recorded: Recorded | None = None


class Deadline(Message, tag="deadline/1", frozen=True, kw_only=True):
    """The time is up: scheduled by the router, delivered to the aggregator like a result."""

    kind = "deadline"

    task_id: str
    tenant: str
    turn: int


class PlanNode(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a plan, as the answer shows it."""

    id: str
    specialist: str
    needs: tuple[str, ...]


class PlanGraph(msgspec.Struct, frozen=True, kw_only=True):
    """Which specialists worked, and who waited for whom."""

    nodes: tuple[PlanNode, ...]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a task used, and what it would have cost on the large model alone."""

    usd: float
    #: The same tokens priced as the team's dearest tier.
    large_model_usd: float
    prompt_tokens: int
    output_tokens: int
    model_seconds: float


class Answer(Message, tag="answer/1", frozen=True, kw_only=True):
    """The one answer to a turn of a task, aggregator to client."""

    kind = "answer"

    task_id: str
    tenant: str
    turn: int
    status: State
    text: str
    plan: PlanGraph
    results: dict[str, Finding]
    #: Nodes that gave nothing, or, when input is required, what to supply as "node.name".
    missing: tuple[str, ...]
    cost: Cost
    trace_id: str
    #: What the reader must know, for example that no large model is configured.
    notes: tuple[str, ...] = ()


class Event(Message, tag="event/1", frozen=True, kw_only=True):
    """Progress of a task, any actor to client. Lost without harm."""

    kind = "event"

    task_id: str
    tenant: str
    turn: int
    what: Literal["planned", "started", "called", "tokens", "finished", "escalated"]
    node: str = ""
    specialist: str = ""
    text: str = ""
    plan: PlanGraph | None = None
    state: State | None = None
    seconds: float | None = None


class Usage(Message, tag="usage/1", frozen=True, kw_only=True):
    """What one node used, specialist or expert to learning and cost. Numbers only: no text leaves the task."""

    kind = "usage"

    task_id: str
    tenant: str
    node: str
    name: str
    state: State
    seconds: float
    confidence: float | None = None
    tokens: tuple[Tokens, ...] = ()


class Dead(Message, tag="dead/1", frozen=True, kw_only=True):
    """A message nobody could handle, any actor to operator; it can be retried."""

    kind = "dead"

    actor: str
    reason: str
    subject: str
    payload: bytes
    headers: dict[str, str] = {}
    attempts: int = 1


class Control(Message, tag="control/1", frozen=True, kw_only=True):
    """A word to all actors at once, client or operator to all."""

    kind = "control"

    verb: Literal["cancel", "status"]
    task_id: str = ""
    tenant: str = ""


class Presence(Message, tag="presence/1", frozen=True, kw_only=True):
    """What one replica says of itself when asked for its status."""

    kind = "presence"

    actor: str
    replica: str
    pid: int
    host: str
    stream: str
    consumer: str
    in_flight: int
    handled: int
    failed: int
    #: Handled per second over the last minute.
    rate: float
    p50_ms: float
    p99_ms: float
    output_tokens: int = 0
    model: str = ""
    #: What the operator must know of the model, for example that it stands in for a large one.
    note: str = ""
    uptime_s: float = 0.0
