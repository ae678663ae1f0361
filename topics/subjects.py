"""Every subject Metier uses, built and parsed here alone.

    task.{tenant}.{class}              subtask.{specialist}.{class}.{share}
    result.{task_id}                   escalation.{tier}.{class}.{share}
    schedule.{task_id}.{…}             usage.{specialist or tier}
    answer.{tenant}.{task_id}.{turn}   event.{tenant}.{task_id}    dead.{actor}
    control.{verb}                     ledger.{key}                ask.{tenant}.{class}

All under a root, `metier` by default, so that several teams share one server.
"""

from __future__ import annotations

import re

import msgspec

from .errors import InvalidToken
from .lanes import share

TOKEN_LIMIT = 64
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


def token(value: str, what: str = "name") -> str:
    """The value, checked to be one subject token. Raises InvalidToken."""
    if not _TOKEN.fullmatch(value):
        raise InvalidToken(what=what, value=value, limit=TOKEN_LIMIT)
    return value


class Subjects(msgspec.Struct, frozen=True):
    """The subjects below one root."""

    root: str = "metier"

    def __post_init__(self) -> None:
        token(self.root, "root")

    def everything(self, kind: str) -> str:
        """All subjects of one kind, as a stream lists them."""
        return f"{self.root}.{kind}.>"

    def stream(self, name: str) -> str:
        """A stream's name on the server: plain for the default root, prefixed for another."""
        return name if self.root == "metier" else f"{self.root}_{name}"

    def task(self, tenant: str, class_: str) -> str:
        """Where a client publishes a task."""
        return f"{self.root}.task.{tenant if tenant == '*' else token(tenant, 'tenant')}.{token(class_, 'class')}"

    def ask(self, tenant: str, class_: str) -> str:
        """Where a task is asked, to be replied to with its answer."""
        return f"{self.root}.ask.{token(tenant, 'tenant')}.{token(class_, 'class')}"

    def tasks(self) -> str:
        """What the router pulls from: the lanes below it."""
        return f"{self.root}.task.*"

    def subtasks(self, specialist: str) -> str:
        """What one specialist pulls from: the lanes below it."""
        return f"{self.root}.subtask.{token(specialist, 'specialist')}"

    def subtask(self, specialist: str, class_: str, tenant: str) -> str:
        """Where a specialist's work for a tenant goes."""
        return f"{self.subtasks(specialist)}.{token(class_, 'class')}.{share(tenant)}"

    def escalations(self, tier: str) -> str:
        """What one tier of large models pulls from: the lanes below it."""
        return f"{self.root}.escalation.{token(tier, 'tier')}"

    def escalation(self, tier: str, class_: str, tenant: str) -> str:
        """Where a tier's work for a tenant goes."""
        return f"{self.escalations(tier)}.{token(class_, 'class')}.{share(tenant)}"

    def result(self, task_id: str) -> str:
        """Where results of a task go."""
        return f"{self.root}.result.{token(task_id, 'task id')}"

    def answer(self, tenant: str, task_id: str, turn: int | str = "*") -> str:
        """Where the one answer to a turn of a task goes."""
        return f"{self.root}.answer.{token(tenant, 'tenant')}.{token(task_id, 'task id')}.{turn}"

    def event(self, tenant: str, task_id: str) -> str:
        """Where progress and tokens of a task go."""
        return f"{self.root}.event.{token(tenant, 'tenant')}.{token(task_id, 'task id')}"

    def usage(self, name: str) -> str:
        """Where a specialist or tier says what it used."""
        return f"{self.root}.usage.{token(name, 'specialist or tier')}"

    def dead(self, actor: str) -> str:
        """Where an actor buries what it cannot handle."""
        return f"{self.root}.dead.{token(actor, 'actor')}"

    def control(self, verb: str) -> str:
        """Where clients and operators speak to all actors at once."""
        return f"{self.root}.control.{verb}"

    def ledger(self, key: str) -> str:
        """Where a ledger entry lives."""
        return f"{self.root}.ledger.{key}"

    def parse_task(self, subject: str) -> tuple[str, str]:
        """Tenant and class of the subject a task is stored on."""
        tenant, class_, *_ = subject.removeprefix(f"{self.root}.task.").split(".")
        return tenant, class_

    def published(self, subject: str) -> str:
        """Where a stored message was published: a task's subject without the share that the server added."""
        if not subject.startswith(f"{self.root}.task."):
            return subject
        return self.task(*self.parse_task(subject))
