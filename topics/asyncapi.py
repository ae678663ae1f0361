"""The bus as its clients see it, as an AsyncAPI document.

Operations are a client's: what it sends, and what it receives. Source:
https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

from __future__ import annotations

from typing import Final

import msgspec

from .asking import ERROR, ERROR_CODE, RETRY_AFTER, ROOM
from .bus import REPLY_TO
from .codec import CONTENT_TYPE, MSGPACK, encode
from .contract import Json, schemas
from .messages import (
    TEXT_LIMIT,
    Answer,
    Context,
    Control,
    Cost,
    Event,
    Finding,
    Message,
    PlanGraph,
    PlanNode,
    Presence,
    State,
    Task,
    Tokens,
)
from .subjects import TOKEN_LIMIT, Subjects
from .tracing import TRACEPARENT
from .wire import MESSAGE_ID, REFERENCE

_TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"

_PLAN = PlanGraph(nodes=(PlanNode(id="hotels", specialist="hotels", needs=()),))
_FINDING = Finding(
    state=State.OK,
    specialist="hotels",
    text="Hotels in Lyon, Fri 27 Nov 2026 to Sun 29 Nov 2026 (2 nights): Hôtel du Parc ★★★ €178",
    confidence=0.98,
    tokens=(Tokens(model="multilingual-e5-small + trip-tools", prompt=96, seconds=0.04),),
)

#: One of each message a client meets, and the headers it comes with.
EXAMPLES: Final[dict[type[Message], dict[str, Message]]] = {
    Task: {
        "smallest": Task(text="What is the weather in Nice this weekend?"),
        "usual": Task(
            task_id="order-7-hotel",
            text="Find me a hotel in Lyon for two nights from next Friday",
            deadline_s=20,
            context=Context(time_zone="Europe/Paris", home="Paris"),
        ),
    },
    Event: {
        "planned": Event(task_id="order-7-hotel", tenant="default", turn=1, what="planned", plan=_PLAN),
        "finished": Event(
            task_id="order-7-hotel", tenant="default", turn=1, what="finished", node="hotels", specialist="hotels",
            text=_FINDING.text, state=State.OK, seconds=0.16,
        ),
    },
    Answer: {
        "ok": Answer(
            task_id="order-7-hotel", tenant="default", turn=1, status=State.OK, text=_FINDING.text, plan=_PLAN,
            results={"hotels": _FINDING}, missing=(), trace_id=_TRACE,
            cost=Cost(usd=0, large_model_usd=0.0012, prompt_tokens=96, output_tokens=0, model_seconds=0.04),
        ),
        "asks back": Answer(
            task_id="order-8", tenant="default", turn=1, status=State.INPUT_REQUIRED,
            text="flights needs to know: origin.", missing=("flights.origin",), trace_id=_TRACE,
            plan=PlanGraph(nodes=(PlanNode(id="flights", specialist="flights", needs=()),)),
            results={"flights": Finding(state=State.INPUT_REQUIRED, specialist="flights", missing=("origin",))},
            cost=Cost(usd=0, large_model_usd=0, prompt_tokens=88, output_tokens=0, model_seconds=0.03),
        ),
    },
    Control: {"cancel": Control(verb="cancel", task_id="order-7-hotel", tenant="default")},
    Presence: {
        "a router": Presence(
            actor="router", replica="7f3a", pid=4242, host="node-1", stream="TASKS", consumer="router", in_flight=1,
            handled=118, failed=0, rate=2.5, p50_ms=4.1, p99_ms=9.8, model="encoder", uptime_s=61.0,
        )
    },
}  # fmt: skip

_HEADERS: Final[dict[str, Json]] = {
    CONTENT_TYPE: {
        "type": "string",
        "enum": ["application/json", MSGPACK],
        "default": "application/json",
        "description": "How the payload is written.",
    },
    MESSAGE_ID: {
        "type": "string",
        "description": "The stream keeps the first message of an id within two minutes and drops the rest.",
        "examples": ["default.order-7-hotel.1"],
    },
    TRACEPARENT: {
        "type": "string",
        "description": "W3C trace context: the task joins this trace.",
        "examples": [f"00-{_TRACE}-00f067aa0ba902b7-01"],
    },
    REFERENCE: {
        "type": "string",
        "description": "A payload too large for one message is the object of this name in the bucket LARGE.",
    },
    REPLY_TO: {"type": "string", "description": "The subject where the sender waits for replies."},
    ERROR_CODE: {
        "type": "string",
        "enum": ["400", "429", "500", "503", "504"],
        "description": (
            "400 the task cannot be accepted; 429 the team is busy; 503 something is not there; 504 no answer in time; "
            "500 anything else. After 429 and above, ask again with the same task_id."
        ),
    },
    ERROR: {"type": "string", "description": "The reason, in a sentence."},
    RETRY_AFTER: {
        "type": "string",
        "description": "With 429: seconds after which to ask again, from what waits and how fast it goes.",
    },
}

_TOKEN: Final = f"Letters, digits, dash and underscore, at most {TOKEN_LIMIT}."

#: What a request on a channel is replied to with.
_REPLIES: Final = {"taskReply": ("receipt",), "askReply": ("answer", "refusal"), "controlReply": ("presence",)}

_SENT = (MESSAGE_ID, TRACEPARENT, CONTENT_TYPE)
_STORED = (MESSAGE_ID, TRACEPARENT, REFERENCE)

_RECEIPT: Final[Json] = {
    "name": "receipt",
    "title": "The stream has the task, or refuses it",
    "contentType": "application/json",
    "payload": {
        "type": "object",
        "properties": {
            "stream": {"type": "string"},
            "seq": {"type": "integer", "description": "A task without an id is named after it: task-{seq}."},
            "duplicate": {"type": "boolean", "description": "The stream had a message of this Nats-Msg-Id already."},
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "integer"},
                    "err_code": {"type": "integer", "description": "10077: the stream is full; try again later."},
                    "description": {"type": "string"},
                },
            },
        },
    },
    "examples": [
        {"name": "accepted", "payload": {"stream": "TASKS", "seq": 17}},
        {
            "name": "full",
            "payload": {"error": {"code": 503, "err_code": 10077, "description": "maximum messages exceeded"}},
        },
    ],
}


def document() -> Json:
    """The AsyncAPI document."""
    references, components = schemas(list(EXAMPLES), "#/components/schemas")
    pairs = zip(EXAMPLES, references, strict=True)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Metier",
            "version": "1",
            "description": "Publish a task, follow its events, read its one answer.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats", "description": "A team on this machine."}},
        "channels": _channels(Subjects()),
        "operations": _operations(),
        "components": {
            "messages": {kind.kind: _message(kind, reference) for kind, reference in pairs}
            | {"receipt": _RECEIPT, "refusal": _refusal()},
            "schemas": components,
        },
    }


def _message(kind: type[Message], reference: Json) -> Json:
    headers = {Task: _SENT, Answer: _STORED, Event: (REFERENCE,), Control: (REPLY_TO,)}.get(kind, ())
    return {
        "name": kind.kind,
        "title": (kind.__doc__ or "").split("\n")[0],
        "contentType": "application/json",
        **({"headers": _headers(*headers)} if headers else {}),
        "payload": reference,
        "examples": [
            {"name": name, "payload": msgspec.json.decode(encode(message))} for name, message in EXAMPLES[kind].items()
        ],
    }


def _refusal() -> Json:
    headers = {ERROR_CODE: "400", ERROR: "The text is empty: a task needs at least one word."}
    return {
        "name": "refusal",
        "title": "No answer: the reason is in the headers, the payload is empty",
        "headers": _headers(ERROR_CODE, ERROR, RETRY_AFTER) | {"required": [ERROR_CODE, ERROR]},
        "payload": {"type": "string", "maxLength": 0},
        "examples": [{"name": "empty", "headers": headers, "payload": ""}],
    }


def _headers(*names: str) -> Json:
    return {"type": "object", "properties": {name: _HEADERS[name] for name in names}}


def _channels(subjects: Subjects) -> Json:
    parameters: dict[str, Json] = {
        "tenant": {"description": f"Who asks; `default` unless you are told another. {_TOKEN}", "default": "default"},
        "class": {"description": "How urgent the task is.", "enum": ["interactive", "batch"], "default": "interactive"},
        "task_id": {"description": f"The task. {_TOKEN}"},
        "turn": {"description": "1 for a new task; one more for each follow-up.", "default": "1"},
        "verb": {"description": "What all actors are told.", "enum": ["cancel", "status"]},
    }
    table: dict[str, tuple[str, str, str]] = {
        "task": (
            "task.{tenant}.{class}",
            "task",
            f"Kept in stream TASKS until handled. Text: {TEXT_LIMIT} characters.",
        ),
        "ask": ("ask.{tenant}.{class}", "task", f"Requests, each replied to with its answer; {ROOM} may wait at once."),
        "event": ("event.{tenant}.{task_id}", "event", "Progress, kept in stream EVENTS for ten minutes, in memory."),
        "answer": (
            "answer.{tenant}.{task_id}.{turn}",
            "answer",
            "One on each subject, kept in stream ANSWERS for a day.",
        ),
        "control": ("control.{verb}", "control", "A word to all actors at once; kept nowhere."),
    }
    channels: Json = {
        name: {
            "address": f"{subjects.root}.{address}",
            "description": description,
            "parameters": {key: value for key, value in parameters.items() if f"{{{key}}}" in address},
            "messages": _carried(message),
        }
        for name, (address, message, description) in table.items()
    }
    # Where a client says it waits: the reply subject of its request, or the header Metier-Reply-To.
    return channels | {name: {"address": None, "messages": _carried(*said)} for name, said in _REPLIES.items()}


def _carried(*messages: str) -> Json:
    return {message: {"$ref": f"#/components/messages/{message}"} for message in messages}


def _operations() -> Json:
    return {
        "publishTask": _operation("send", "task", "Publish a task. As a request, it is replied to by the stream."),
        "ask": _operation("send", "ask", "Ask and wait for the answer in one request, longer than `deadline_s`."),
        "followEvents": _operation("receive", "event", "Follow a task: replay stream EVENTS, then what comes live."),
        "readAnswer": _operation("receive", "answer", "Read the answer: subscribe first, then look in stream ANSWERS."),
        "control": _operation("send", "control", "Tell every actor to stop a task, or to say how it is."),
    }


def _operation(action: str, channel: str, summary: str) -> Json:
    message = "task" if channel == "ask" else channel
    operation: Json = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{message}"}],
    }
    if said := _REPLIES.get(reply := f"{channel}Reply"):
        operation["reply"] = {
            "channel": {"$ref": f"#/channels/{reply}"},
            "messages": [{"$ref": f"#/channels/{reply}/messages/{name}"} for name in said],
        }
    return operation
