"""The team as an OpenAI-compatible model: `/v1/chat/completions` and `/v1/models`.

The model is the team, by its name, or one specialist alone, as `team/specialist`. The team reads the last message, and
no other: it has no use for a system prompt, nor for what was asked before. When it asks back, its message ends with
`Reply to continue task …`: the next message is then the answer to that question.

Source: the OpenAI API reference, "Create chat completion" and "Streaming".
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import Response

from metier.topics.client import GRACE_S
from metier.topics.ending import end
from metier.topics.errors import MetierError, UnknownTask
from metier.topics.messages import Answer, Event, Task

from . import bodies, problems, stream
from .bodies import InputBody, TaskBody
from .calls import Call, Operation, Parameter, replied
from .chat import ChatBody, Completion, Model, Models, Told, completion, content, finish, outcome, usage
from .problems import Problem
from .tasks import KEY, idempotency_key

_CONTINUE = re.compile(r"Reply to continue task ([A-Za-z0-9_-]{1,64})\.\s*$")
_DONE = b"data: [DONE]\n\n"


# ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def chat(call: Call) -> Response:
    """Asks the team, or one specialist, and answers as a model does. Who leaves early cancels the task."""
    body = await call.body(ChatBody)
    body.check()
    task = await _task(call, body)
    if body.stream:
        return stream.Stream(call.house, _chunks(call, task, body))
    with call.house.occupied():
        answer = await _waited(call, task)
    return replied(completion(body.model, answer))


async def _task(call: Call, body: ChatBody) -> Task:
    """The task that goes on, if the team had asked something; else a new one."""
    specialists = await _specialists(call, body.model)
    text = body.messages[-1].words
    if len(body.messages) > 2 and (asked := _CONTINUE.search(body.messages[-2].words)):
        try:
            found = await call.door.found(call.tenant, asked[1])
            more = InputBody(text=text, deadline_s=body.metier.deadline_s)
            return await call.door.go_on(found, more, call.traceparent)
        except (UnknownTask, Problem):
            # Gone on with already, or forgotten: the whole is asked anew.
            text = f"{body.messages[-3].words}\n{text}"
    extra = body.metier
    asked_for = TaskBody(
        text=text,
        deadline_s=extra.deadline_s,
        privacy=extra.privacy,
        budget_usd=extra.budget_usd,
        context=extra.context,
        specialists=specialists,
    )
    return await call.door.accept(call.tenant, asked_for, idempotency_key(call), call.traceparent)


async def _specialists(call: Call, model: str) -> tuple[str, ...]:
    """Whom a model's name means; nobody in particular for the team. Raises Problem 404."""
    crew = call.house.crew
    team, _, specialist = model.partition("/")
    known = await crew.specialists(call.door.bus)
    if team == crew.name and (not specialist or specialist in known):
        return (specialist,) if specialist else ()
    raise Problem(404, f"The model {model!r} does not exist; GET /v1/models lists all.", kind="model-not-found")


async def _waited(call: Call, task: Task) -> Answer:
    answer = asyncio.create_task(call.door.wait(task, _limit_s(task)))
    left = asyncio.create_task(stream.gone(call.request.receive))
    try:
        await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            await call.door.stop(task)
            raise Problem(400, "The client has left.")
        return answer.result()
    finally:
        await end(answer, left)


def _limit_s(task: Task) -> float:
    return task.deadline_s + GRACE_S


# ── Answering ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _chunks(call: Call, task: Task, body: ChatBody) -> AsyncGenerator[bytes]:
    base = {"id": f"chatcmpl-{task.task_id}", "object": "chat.completion.chunk", "created": int(time.time())}
    base["model"] = body.model

    def chunk(delta: dict[str, str], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return stream.event(bodies.encode({**base, "choices": [choice], **more}))

    told, ended = Told(), False
    try:
        yield chunk({"role": "assistant", "content": ""})
        async for step in stream.kept_alive(call.door.follow(task, 0, _limit_s(task))):
            if step is None:
                yield stream.KEEP_ALIVE
            elif isinstance(step[1], Event):
                if more := told.more(step[1]):
                    yield chunk({"content": more})
            else:
                answer, ended = step[1], True
                if rest := told.rest(content(answer)):
                    yield chunk({"content": rest})
                yield chunk({}, finish(answer), metier=outcome(answer))
                if body.stream_options and body.stream_options.include_usage:
                    yield stream.event(bodies.encode({**base, "choices": [], "usage": usage(answer)}))
        yield _DONE
    except MetierError as error:
        ended = True
        yield stream.event(bodies.encode(problems.of(error).details(openai=True)))
    finally:
        if not ended:
            await call.door.stop(task)


# ── Models ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def models(call: Call) -> Response:
    """Lists the team and each specialist alone."""
    return replied(Models(data=await _models(call)))


async def model(call: Call) -> Response:
    """Shows one of them."""
    name = call.request.path_params["model"]
    for one in await _models(call):
        if one.id == name:
            return replied(one)
    raise Problem(404, f"The model {name!r} does not exist; GET /v1/models lists all.", kind="model-not-found")


async def _models(call: Call) -> tuple[Model, ...]:
    crew = call.house.crew
    known = await crew.specialists(call.door.bus)
    team = Model(id=crew.name, description="The whole team: it chooses who works.")
    return (team, *(Model(id=f"{crew.name}/{name}", description=about) for name, about in known.items()))


OPERATIONS = (
    Operation(
        method="POST",
        path="/v1/chat/completions",
        handle=chat,
        about="Ask the team as a model. With `stream` the answer comes as events.",
        body=ChatBody,
        gives={200: (Completion, stream.MEDIA_TYPE)},
        problems=(400, 404, 408, 413, 415, 422, 429, 504),
        parameters=(KEY,),
        openai=True,
    ),
    Operation(
        method="GET",
        path="/v1/models",
        handle=models,
        about="The team, and each specialist alone.",
        gives={200: Models},
        openai=True,
    ),
    Operation(
        method="GET",
        path="/v1/models/{model:path}",
        handle=model,
        about="One of them.",
        gives={200: Model},
        problems=(404,),
        parameters=(Parameter(name="model", place="path", about="The team, or team/specialist."),),
        openai=True,
    ),
)
