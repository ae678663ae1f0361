"""What is said in OpenAI's words: requests, completions, and an answer as one of them."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec

from metier.topics.messages import Answer, Context, Event, Privacy, Seconds, State

from .problems import Problem


class Part(msgspec.Struct, frozen=True):
    """One part of a message."""

    type: str
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | tuple[Part, ...] | None = None

    @property
    def words(self) -> str:
        """Its text. Raises Problem 400 for anything else in it."""
        if isinstance(self.content, str | None):
            return self.content or ""
        for part in self.content:
            if part.type != "text":
                raise Problem(400, f"The team reads text, and no {part.type!r}.", kind="unsupported-content")
        return "\n".join(part.text for part in self.content)


class StreamOptions(msgspec.Struct, frozen=True):
    """How a stream ends."""

    include_usage: bool = False


class Extra(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What OpenAI's requests have no words for (`extra_body={"metier": {...}}`)."""

    deadline_s: Seconds = 30.0
    privacy: Privacy = Privacy.ANY
    budget_usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    context: Context = Context()


class ChatBody(msgspec.Struct, frozen=True, kw_only=True):
    """A request for a completion. Other fields steer a sampling that this team does not do; they change nothing."""

    model: str
    messages: Annotated[tuple[Message, ...], msgspec.Meta(min_length=1)]
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = None
    logprobs: bool | None = None
    tool_choice: Any = None
    response_format: dict[str, Any] | None = None
    metier: Extra = Extra()

    def check(self) -> None:
        """Raises Problem 400 for what would need another shape of answer."""
        refused = {
            "n": self.n not in (None, 1),
            "logprobs": bool(self.logprobs),
            "tool_choice": self.tool_choice not in (None, "auto", "none"),
            "response_format": (self.response_format or {"type": "text"}).get("type") != "text",
        }
        for name, wrong in refused.items():
            if wrong:
                raise Problem(400, f"The team cannot do what {name!r} asks for.", kind="unsupported-parameter")
        if self.messages[-1].role != "user":
            raise Problem(400, "The last message must be the user's.", kind="unsupported-messages")


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The team, or one specialist alone."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "metier"
    description: str = ""


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """All of them."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of all models that worked on it."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """The team's message."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The one there is."""

    index: int = 0
    message: Said
    logprobs: None = None
    finish_reason: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How the task ended, for programs that know Metier."""

    task_id: str
    status: State
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    cost_usd: float
    trace_id: str


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    metier: Outcome


# ── An answer as a completion ────────────────────────────────────────────────────────────────────────────────────────


def completion(model: str, answer: Answer) -> Completion:
    """The whole, at once."""
    return Completion(
        id=f"chatcmpl-{answer.task_id}",
        created=int(time.time()),
        model=model,
        choices=(Choice(message=Said(content=content(answer)), finish_reason=finish(answer)),),
        usage=usage(answer),
        metier=outcome(answer),
    )


def content(answer: Answer) -> str:
    """What is read. A question says how to go on: the client brings it back, and with it the task."""
    if answer.status is State.INPUT_REQUIRED:
        return f"{answer.text}\n\nReply to continue task {answer.task_id}."
    return "\n\n".join((answer.text, *answer.notes))


def finish(answer: Answer) -> str:
    """Why it ends here."""
    return "length" if answer.status is State.EXPIRED else "stop"


def usage(answer: Answer) -> Usage:
    """What it took."""
    read, written = answer.cost.prompt_tokens, answer.cost.output_tokens
    return Usage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


def outcome(answer: Answer) -> Outcome:
    """How it ended."""
    return Outcome(
        task_id=answer.task_id,
        status=answer.status,
        missing=answer.missing,
        notes=answer.notes,
        cost_usd=answer.cost.usd,
        trace_id=answer.trace_id,
    )


class Told:
    """What of an answer the client has read already: the words of a large model that answers alone."""

    def __init__(self) -> None:
        self.text = ""
        self._alone = ""

    def more(self, event: Event) -> str:
        """What an event adds."""
        if event.what == "planned" and event.plan and len(event.plan.nodes) == 1:
            self._alone = event.plan.nodes[0].id
        if event.what != "tokens" or event.node != self._alone:
            return ""
        new = event.text if self.text else event.text.lstrip()
        self.text += new
        return new

    def rest(self, whole: str) -> str:
        """What is missing of the whole; all of it when a model began anew and said something else."""
        told = self.text.rstrip()
        if whole.startswith(told):
            return whole[len(told) :]
        return f"\n\n{whole}"
