"""What MCP's clients get and give: results, questions, replies."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext

from metier.topics.messages import Answer, State

from . import asking

#: The one thing that is asked for, and its key among the requests for input.
FIELD = "text"


def result(answer: Answer) -> types.CallToolResult:
    """An answer as the result of a tool: its text for the model, the whole of it for programs."""
    text = "\n".join((answer.text, *answer.notes))
    if answer.status is State.INPUT_REQUIRED:
        text += f"\nCall again with task_id {answer.task_id}, and with what is missing as text."
    return types.CallToolResult(
        content=[types.TextContent(text=text)],
        structured_content=msgspec.to_builtins(answer),
        is_error=asking.failed(answer),
    )


def broken(reason: str) -> types.CallToolResult:
    """That there is no answer, and why: a model may do better the next time."""
    return types.CallToolResult(content=[types.TextContent(text=reason)], is_error=True)


def form(answer: Answer) -> types.ElicitRequestFormParams:
    """What an answer asks for, as a form of one field."""
    wanted = ", ".join(answer.missing)
    schema = {
        "type": "object",
        "properties": {FIELD: {"type": "string", "title": wanted, "description": answer.text, "minLength": 1}},
        "required": [FIELD],
    }
    return types.ElicitRequestFormParams(message=answer.text, requested_schema=schema)


def question(answer: Answer) -> types.ElicitRequest:
    """The form as a request within a result."""
    return types.ElicitRequest(params=form(answer))


def reply(response: object) -> str | None:
    """What was filled in; None if nothing was."""
    if not isinstance(response, types.ElicitResult) or response.action != "accept":
        return None
    words = (response.content or {}).get(FIELD)
    return words if isinstance(words, str) and words.strip() else None


def elicits(ctx: ServerRequestContext[Any, Any]) -> bool:
    """Whether the client can be asked: it says so, and there is a way to it."""
    capabilities = ctx.session.client_capabilities
    return bool(capabilities and capabilities.elicitation is not None)
