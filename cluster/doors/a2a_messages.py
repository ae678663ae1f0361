"""What A2A says of the team: its card, its tasks, and their updates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec
from a2a.helpers import new_data_part, new_text_message, new_text_part
from a2a.server.events import Event as A2AEvent
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors
from a2a.utils.constants import PROTOCOL_VERSION_1_0, TransportProtocol

from metier.topics.messages import Answer, Event, Finding, State

from ..gateway.door import Found
from . import asking

ANSWER = "answer"
_STATES = {
    "accepted": pb.TASK_STATE_SUBMITTED,
    "running": pb.TASK_STATE_WORKING,
    "ok": pb.TASK_STATE_COMPLETED,
    "input_required": pb.TASK_STATE_INPUT_REQUIRED,
    "failed": pb.TASK_STATE_FAILED,
    "expired": pb.TASK_STATE_FAILED,
    "cancelled": pb.TASK_STATE_CANCELED,
}


def card(name: str, specialists: Mapping[str, str], url: str, keys: bool) -> pb.AgentCard:
    """Who the agent is, what it can do, and where."""
    one = pb.AgentCard(
        name=name,
        description=f"A team of specialists that chooses who works: {', '.join(specialists)}.",
        version=asking.VERSION,
        supported_interfaces=[
            pb.AgentInterface(
                url=url, protocol_binding=TransportProtocol.JSONRPC.value, protocol_version=PROTOCOL_VERSION_1_0
            )
        ],
        capabilities=pb.AgentCapabilities(streaming=True, push_notifications=False),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain", "application/json"],
        skills=[
            pb.AgentSkill(id=skill, name=skill, description=about or skill, tags=[name])
            for skill, about in specialists.items()
        ],
    )
    if keys:
        bearer = pb.SecurityScheme(http_auth_security_scheme=pb.HTTPAuthSecurityScheme(scheme="bearer"))
        one.security_schemes["key"].CopyFrom(bearer)
        one.security_requirements.add().schemes["key"].SetInParent()
    return one


def text(message: pb.Message) -> str:
    """A message's words. Raises ContentTypeNotSupportedError for anything else in it."""
    if any(not part.HasField("text") for part in message.parts):
        raise errors.ContentTypeNotSupportedError("The team reads text, and nothing else.")
    return "\n".join(part.text for part in message.parts)


def over(found: Found) -> bool:
    """Whether nothing will ever become of a task any more."""
    return found.status not in ("accepted", "running", "input_required")


def task(found: Found, task_id: str, context_id: str) -> pb.Task:
    """A task as it stands."""
    one = pb.Task(id=task_id, context_id=context_id, status=_status(found.status))
    answer = found.answer
    if answer and answer.turn == found.turn:
        one.status.message.CopyFrom(_message(answer.text, task_id, context_id))
        one.artifacts.extend(_artifacts(answer))
    return one


def submitted(task_id: str, context_id: str) -> pb.Task:
    """A turn that was accepted just now."""
    return pb.Task(id=task_id, context_id=context_id, status=_status("accepted"))


class Updates:
    """What is told of one turn, item by item."""

    def __init__(self, task_id: str, context_id: str) -> None:
        self._task_id = task_id
        self._context_id = context_id
        #: Nodes whose tokens have begun to come.
        self._begun: set[str] = set()

    def of(self, item: Event | Answer) -> Iterator[A2AEvent]:
        """The updates that say the same."""
        if isinstance(item, Answer):
            for artifact in _artifacts(item):
                yield self._artifact(artifact, append=False, last=True)
            yield self._update(item.status.value, item.text)
        elif item.what == "tokens":
            artifact = pb.Artifact(artifact_id=item.node, name=item.specialist, parts=[new_text_part(item.text)])
            yield self._artifact(artifact, append=item.node in self._begun, last=False)
            self._begun.add(item.node)
        else:
            yield self._update("running", asking.told(item))

    def _artifact(self, artifact: pb.Artifact, *, append: bool, last: bool) -> A2AEvent:
        return pb.TaskArtifactUpdateEvent(
            task_id=self._task_id, context_id=self._context_id, artifact=artifact, append=append, last_chunk=last
        )

    def _update(self, status: str, words: str) -> A2AEvent:
        said = _status(status)
        said.message.CopyFrom(_message(words, self._task_id, self._context_id))
        return pb.TaskStatusUpdateEvent(task_id=self._task_id, context_id=self._context_id, status=said)


def _status(status: str) -> pb.TaskStatus:
    said = pb.TaskStatus(state=_STATES[status])
    said.timestamp.GetCurrentTime()
    return said


def _message(words: str, task_id: str, context_id: str) -> pb.Message:
    return new_text_message(words, context_id=context_id, task_id=task_id, role=pb.ROLE_AGENT)


def _artifacts(answer: Answer) -> Iterator[pb.Artifact]:
    """What each node found, then the answer: words for people, data for programs."""
    if answer.status is State.INPUT_REQUIRED:
        return
    for node, finding in answer.results.items():
        if finding.state is State.OK:
            yield pb.Artifact(artifact_id=node, name=finding.specialist, parts=_parts(finding))
    whole = new_data_part(msgspec.to_builtins(answer))
    yield pb.Artifact(artifact_id=ANSWER, name=ANSWER, parts=[new_text_part(answer.text), whole])


def _parts(finding: Finding) -> list[pb.Part]:
    parts = [new_text_part(finding.text)]
    return parts if finding.data is None else [*parts, new_data_part(finding.data)]
