"""What requests say and responses show, and how a body is read."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request

from metier.topics.messages import TEXT_LIMIT, Answer, Class, Context, PlanGraph, Privacy, Seconds, Task

from .problems import Problem
from .settings import Limits

T = TypeVar("T")

#: Of a body that is too large so much is read and thrown away: who is still sending would not hear why it was refused.
DRAINED_BYTES = 4 * 1024 * 1024

#: Accepted: no actor has seen it. Running: it has a plan. The others are how an answer ends.
Status = Literal["accepted", "running", "ok", "input_required", "failed", "expired", "cancelled"]

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_LIMIT, description="In plain words.")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class TaskBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A task, as it is asked for."""

    text: Text
    class_: Class = msgspec.field(default=Class.INTERACTIVE, name="class")
    #: Seconds from acceptance to the answer, whatever is done by then.
    deadline_s: Seconds = 30.0
    privacy: Privacy = Privacy.ANY
    budget_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    context: Context = Context()
    specialists: Annotated[
        tuple[Name, ...], msgspec.Meta(max_length=100, description="These alone work on it; none: the router chooses.")
    ] = ()

    def task(self, tenant: str, task_id: str) -> Task:
        """The task as it is published."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return Task(task_id=task_id, tenant=tenant, **fields)


class InputBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a task was missing."""

    text: Text
    deadline_s: Seconds = 30.0


class TaskView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task as it stands."""

    task_id: str
    status: Status
    turn: int
    #: When the answer that is awaited comes at the latest.
    deadline: dt.datetime | None = None
    plan: PlanGraph | None = None
    #: The last answer; while a follow-up is at work, that of the turn before.
    answer: Answer | None = None


async def read(request: Request, limits: Limits) -> bytes:
    """The body. Raises Problem 413 when it is too large, 408 when it is too slow, 415 when it is not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # Nor without a type: a browser asks no leave for such a request of a strange page.
        raise Problem(415, "Send the body with Content-Type: application/json.")
    body, size = bytearray(), 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size <= limits.body_bytes:
                    body += chunk
                elif size > limits.body_bytes + DRAINED_BYTES:
                    break
    except TimeoutError:
        detail = f"The body did not come within {limits.body_s:g} s."
        raise Problem(408, detail, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "The body ended early.") from None
    if size > limits.body_bytes:
        raise Problem(413, f"The body is larger than {limits.body_bytes} bytes.", headers={"Connection": "close"})
    return bytes(body)


def decode(body: bytes, kind: type[T]) -> T:
    """A body as it is meant. Raises Problem 400 if it is not JSON, 422 with the place if it says something else."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, f"{error}.", kind="invalid-body") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}.", kind="malformed-json") from None


def encode(value: Any) -> bytes:
    """A body as it is sent."""
    return msgspec.json.encode(value)
