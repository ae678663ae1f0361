"""A2A 1.0: the team as one agent with a skill per specialist, over JSON-RPC.

An A2A task is Metier's task by the same id; nothing is kept here but the context it belongs to, beside its plan.

    Metier                         A2A
    accepted, running              SUBMITTED, WORKING
    ok                             COMPLETED
    input_required                 INPUT_REQUIRED; a message with the task's id goes on
    failed, expired                FAILED
    cancelled                      CANCELED
    event                          status update, its words in the message
    tokens, a node's finding       artifact named by its node
    answer                         artifact "answer", and the last status

A message is for the whole team unless its metadata has `metier`: `{"specialists": ["flights"], "context": …}`.

Source: a2a-protocol.org, specification 1.0.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message

from metier.topics.client import GRACE_S
from metier.topics.errors import InvalidInput, MetierError, Timeout
from metier.topics.messages import Task

from ..gateway import bodies, problems
from ..gateway.calls import House
from ..gateway.door import Found, checked
from ..gateway.problems import Problem
from . import a2a_messages as written
from . import asking
from .asking import Extra

#: Where it is spoken.
PATH = "/a2a"
CONTEXT_LIMIT = 256


class MessageExtra(Extra, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a message's metadata may say to Metier."""

    specialists: tuple[str, ...] = ()


class Handler(RequestHandler):
    """What the library asks of an agent. The caller's tenant and trace are in the context's state."""

    def __init__(self, house: House) -> None:
        self._house = house

    # ── Asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @validate_request_params
    async def on_message_send(self, params: pb.SendMessageRequest, context: ServerCallContext) -> pb.Task:
        """Asks, or goes on; waits for the answer unless told not to."""
        with _told():
            task, context_id = await self._begin(params, context)
            if not params.configuration.return_immediately:
                with self._house.occupied(), suppress(Timeout):  # overdue: it is shown as it stands
                    await self._house.opened().wait(task, task.deadline_s + GRACE_S)
            return written.task(await self._found(context, task.task_id), task.task_id, context_id)

    @validate_request_params
    async def on_message_send_stream(
        self, params: pb.SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Asks, or goes on; the task, then all that becomes of it."""
        with _told(), self._house.occupied():
            task, context_id = await self._begin(params, context)
            yield written.submitted(task.task_id, context_id)
            async with aclosing(self._followed(task, task.deadline_s + GRACE_S, context_id)) as events:
                async for event in events:
                    yield event

    async def _begin(self, params: pb.SendMessageRequest, context: ServerCallContext) -> tuple[Task, str]:
        """The task that a message begins or continues, and its context. Raises as the house does."""
        if params.configuration.HasField("task_push_notification_config"):
            raise errors.PushNotificationNotSupportedError
        message, tenant, trace = params.message, _tenant(context), context.state["traceparent"]
        text = written.text(message)
        extra = asking.read(MessageExtra, MessageToDict(message.metadata).get("metier", {}))
        if message.task_id:
            context_id = await self._context_of(tenant, message.task_id)
            if message.context_id not in ("", context_id):
                raise InvalidInput(reason=f"the task's context is {context_id}")
            task = await asking.go_on(self._house, tenant, message.task_id, text, extra.deadline_s, trace)
            return task, context_id
        if len(message.context_id) > CONTEXT_LIMIT:
            raise InvalidInput(reason=f"a context's id has at most {CONTEXT_LIMIT} characters")
        task = await asking.ask(self._house, tenant, text, extra, extra.specialists, trace)
        if message.context_id:
            key = _context_key(tenant, task.task_id)
            await self._house.opened().bus.write(key, message.context_id.encode(), 0)
        return task, message.context_id or task.task_id

    # ── Looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @validate_request_params
    async def on_get_task(self, params: pb.GetTaskRequest, context: ServerCallContext) -> pb.Task:
        """A task as it stands."""
        with _told():
            found = await self._found(context, params.id)
            return written.task(found, params.id, await self._context_of(_tenant(context), params.id))

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: pb.SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """A task as it stands, then all that becomes of it."""
        with _told(), self._house.occupied():
            found = await self._found(context, params.id)
            if written.over(found):
                raise errors.UnsupportedOperationError(f"The task has ended: {found.status}.")
            context_id = await self._context_of(_tenant(context), params.id)
            yield written.task(found, params.id, context_id)
            if found.status == "input_required":
                return
            turn = asking.turn_of(found, _tenant(context), params.id)
            async with aclosing(self._followed(turn, found.left_s, context_id)) as events:
                async for event in events:
                    yield event

    @validate_request_params
    async def on_cancel_task(self, params: pb.CancelTaskRequest, context: ServerCallContext) -> pb.Task:
        """Stops the work on a task."""
        with _told():
            tenant, found = _tenant(context), await self._found(context, params.id)
            if found.status not in ("accepted", "running"):
                raise errors.TaskNotCancelableError(f"Nobody works on the task: {found.status}.")
            found = await self._house.opened().cancel(found, tenant, params.id)
            return written.task(found, params.id, await self._context_of(tenant, params.id))

    async def on_list_tasks(self, params: pb.ListTasksRequest, context: ServerCallContext) -> pb.ListTasksResponse:
        """Not done: a task is known by its id."""
        raise errors.UnsupportedOperationError("Tasks are not listed: ask for one by its id.")

    # ── What the card says this agent has not ────────────────────────────────────────────────────────────────────────

    async def on_create_task_push_notification_config(
        self, params: pb.TaskPushNotificationConfig, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        """Not done."""
        raise errors.PushNotificationNotSupportedError

    async def on_get_task_push_notification_config(
        self, params: pb.GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> pb.TaskPushNotificationConfig:
        """Not done."""
        raise errors.PushNotificationNotSupportedError

    async def on_list_task_push_notification_configs(
        self, params: pb.ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> pb.ListTaskPushNotificationConfigsResponse:
        """Not done."""
        raise errors.PushNotificationNotSupportedError

    async def on_delete_task_push_notification_config(
        self, params: pb.DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Not done."""
        raise errors.PushNotificationNotSupportedError

    async def on_get_extended_agent_card(
        self, params: pb.GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> pb.AgentCard:
        """Not done: there is one card for all."""
        raise errors.UnsupportedOperationError

    # ── Inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _found(self, context: ServerCallContext, task_id: str) -> Found:
        return await self._house.opened().found(_tenant(context), task_id)

    async def _context_of(self, tenant: str, task_id: str) -> str:
        entry = await self._house.opened().bus.read(_context_key(tenant, checked(task_id)))
        return entry.value.decode() if entry else task_id

    async def _followed(self, task: Task, limit_s: float, context_id: str) -> AsyncGenerator[Event]:
        """All that becomes of a turn, what happened before the call too."""
        updates = written.Updates(task.task_id, context_id)
        async with aclosing(asking.steps(self._house.opened(), task, limit_s)) as steps:
            async for item in steps:
                for update in updates.of(item):
                    yield update


class ContextBuilder(DefaultServerCallContextBuilder):
    """Notes who asks, and in which trace."""

    def __init__(self, house: House) -> None:
        self._house = house

    def build(self, request: Request) -> ServerCallContext:
        """The context of one call. Raises Problem."""
        context = super().build(request)
        context.state["metier.tenant"] = self._house.tenant(request)
        context.state["traceparent"] = request.headers.get("traceparent", "")
        return context


def routes(house: House) -> list[BaseRoute]:
    """Where A2A is spoken, and where its card is looked for."""
    dispatcher = JsonRpcDispatcher(Handler(house), ContextBuilder(house))

    async def speak(request: Request) -> Response:
        try:
            house.tenant(request)
            body = await bodies.read(request, house.limits)
        except Problem as problem:
            return problem.response()

        async def receive() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        return await dispatcher.handle_requests(Request(request.scope, receive))

    async def card(request: Request) -> Response:
        try:
            known = await house.crew.specialists(house.opened().bus)
        except (MetierError, Problem) as error:
            return problems.of(error).response()
        where = f"{request.base_url}{PATH.removeprefix('/')}"
        return JSONResponse(agent_card_to_dict(written.card(house.crew.name, known, where, house.keys.required)))

    return [Route(PATH, speak, methods=["POST"]), Route(AGENT_CARD_WELL_KNOWN_PATH, card)]


@contextmanager
def _told() -> Iterator[None]:
    """Errors as A2A names them."""
    try:
        yield
    except errors.A2AError:
        raise
    except Exception as error:  # noqa: BLE001 - it is told, and logged if nobody expected it
        problem = problems.of(error)
        match problem.status:
            case 404:
                raise errors.TaskNotFoundError(problem.detail) from None
            case 409:
                raise errors.UnsupportedOperationError(problem.detail) from None
            case status if status < 500 and status != 429:
                raise errors.InvalidParamsError(problem.detail) from None
            case _:
                raise errors.InternalError(problem.detail) from None


def _tenant(context: ServerCallContext) -> str:
    tenant: str = context.state["metier.tenant"]
    return tenant


def _context_key(tenant: str, task_id: str) -> str:
    return f"{tenant}.{task_id}.a2a-context"
