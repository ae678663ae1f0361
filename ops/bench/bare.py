"""A task's JetStream traffic without actors: the messages of a real task, sent, pulled and acknowledged back to back.

What is sent, and how large it is, comes from the running team: nothing here knows how many messages a task takes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import nats
from nats.aio.msg import Msg

from metier.topics import jetstream, streams, wire
from metier.topics.bus import Delivery, Publication, Pull
from metier.topics.client import Client
from metier.topics.streams import Consumer
from metier.topics.subjects import Subjects

from .figures import Traffic

#: Kinds that an actor pulls and acknowledges, and the streams that hold them.
QUEUES = {
    "task": streams.TASKS,
    "subtask": streams.SUBTASKS,
    "escalation": streams.ESCALATIONS,
    "result": streams.RESULTS,
}
#: A task's traffic has ended when nothing came for this long, in seconds.
QUIET_S = 0.3

Task = Sequence["Sent"]


class Sent(msgspec.Struct, frozen=True):
    """One message of a task, its id and root left open."""

    #: Its subject's first token after the root.
    kind: str
    subject: str
    payload: bytes
    headers: dict[str, str]
    #: Whether the sender waits for the stream's word.
    awaited: bool

    @property
    def pulled(self) -> bool:
        """Whether an actor pulls and acknowledges it."""
        return self.kind in QUEUES

    @property
    def size_bytes(self) -> int:
        """Payload and headers."""
        return len(self.payload) + sum(len(key) + len(value) + 4 for key, value in self.headers.items())

    def filled(self, root: str, task_id: str, index: int) -> tuple[str, bytes, dict[str, str]]:
        """Subject, payload and headers of the message in another task."""
        headers = {
            key: f"{task_id}.{index}" if key == wire.MESSAGE_ID else value.replace(ID, task_id).replace(ROOT, root)
            for key, value in self.headers.items()
        }
        subject = self.subject.replace(ROOT, root).replace(ID, task_id)
        return subject, self.payload.replace(ID.encode(), task_id.encode()), headers


#: Stand for a root and a task's id in a message; the id is as long as a real one.
ROOT, ID = "<root>", "<task>".ljust(32, "-")


async def watch(url: str, client: Client, text: str) -> Task:
    """Every message that one task puts on the broker, in order."""
    seen: list[Msg] = []
    root = client.subjects.root
    connection = await nats.connect(url)

    async def note(message: Msg) -> None:
        seen.append(message)

    try:
        await connection.subscribe(f"{root}.>", cb=note)
        await connection.flush()
        task = await client.submit(text)
        await client.result(task)
        count = -1
        while count < len(seen):
            count = len(seen)
            await asyncio.sleep(QUIET_S)
    finally:
        await connection.close()
    own = [message for message in seen if task.task_id.encode() in message.data or task.task_id in message.subject]
    return [_sent(message, root, task.task_id) for message in own]


def _sent(message: Msg, root: str, task_id: str) -> Sent:
    def opened(text: str) -> str:
        return text.replace(f"{root}.", f"{ROOT}.", 1).replace(task_id, ID)

    return Sent(
        kind=message.subject.split(".")[1],
        subject=opened(message.subject),
        payload=message.data.replace(task_id.encode(), ID.encode()),
        headers={key: opened(value) for key, value in (message.headers or {}).items()},
        awaited=bool(message.reply),
    )


def traffic(task: Task) -> Traffic:
    """A task's messages counted."""
    sizes: Counter[str] = Counter()
    for sent in task:
        sizes[sent.kind] += sent.size_bytes
    return Traffic(
        messages=dict(Counter(sent.kind for sent in task)),
        size_bytes=dict(sizes),
        awaited=sum(sent.awaited for sent in task),
        pulled=sum(sent.pulled for sent in task),
    )


# ── Plain nats-py ────────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def nats_py(url: str, tasks: Mapping[str, Task]) -> AsyncIterator[Callable[[str], Any]]:
    """As nats-py's own documentation does it: `publish`, `fetch`, `ack`."""
    root = "nats-py"
    await _ensure(url, root)
    connection = await nats.connect(url)
    js = connection.jetstream()
    # Subscriptions for each task in flight: of two that fetch on one, the first takes what the second asked for.
    free: list[dict[str, Any]] = []

    async def ask(text: str) -> None:
        pulls = free.pop() if free else {kind: await _bound(js, root, kind) for kind in QUEUES}
        await send(text, pulls)
        free.append(pulls)

    async def send(text: str, pulls: Mapping[str, Any]) -> None:
        task_id, last = uuid4().hex, 0
        for index, sent in enumerate(tasks[text]):
            subject, payload, headers = sent.filled(root, task_id, index)
            if not sent.awaited:
                await connection.publish(subject, payload, headers=headers or None)
                continue
            if wire.EXPECTED_REVISION in headers:
                headers[wire.EXPECTED_REVISION] = str(last)
            stored = await js.publish(subject, payload, headers=headers)
            last = stored.seq if sent.kind == "ledger" else last
            if sent.pulled:
                for message in await pulls[sent.kind].fetch(1):
                    await message.ack()

    try:
        yield ask
    finally:
        await connection.close()


async def _bound(js: Any, root: str, kind: str) -> Any:
    return await js.pull_subscribe_bind(durable=kind, stream=Subjects(root).stream(QUEUES[kind]))


# ── Metier's adapter ─────────────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def adapter(url: str, tasks: Mapping[str, Task]) -> AsyncIterator[Callable[[str], Any]]:
    """The same through `metier.topics.jetstream`."""
    root = "adapter"
    await _ensure(url, root)
    async with AsyncExitStack() as stack:
        subjects = Subjects(root)
        bus = await stack.enter_async_context(jetstream.connect(url, name="bench", subjects=subjects))
        arrived: dict[str, asyncio.Queue[Delivery]] = {kind: asyncio.Queue() for kind in QUEUES}
        for kind in QUEUES:
            pull = await stack.enter_async_context(bus.pull(_consumer(subjects, kind)))
            pumping = asyncio.create_task(_pump(pull, arrived[kind]))
            stack.push_async_callback(_ended, pumping)

        async def ask(text: str) -> None:
            task_id, last = uuid4().hex, 0
            for index, sent in enumerate(tasks[text]):
                subject, payload, headers = sent.filled(root, task_id, index)
                message_id = headers.pop(wire.MESSAGE_ID, None)
                if not sent.awaited:
                    await bus.emit(subject, payload, headers)
                elif wire.EXPECTED_REVISION in headers:
                    last = await bus.write(subject.removeprefix(subjects.ledger("")), payload, last)
                else:
                    await bus.publish(Publication(subject, payload, headers, message_id))
                if sent.pulled:
                    delivery = await arrived[sent.kind].get()
                    await delivery.ack()

        yield ask


async def _pump(pull: Pull, arrived: asyncio.Queue[Delivery]) -> None:
    while True:
        for delivery in await pull.fetch(64):
            arrived.put_nowait(delivery)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,))


async def _ensure(url: str, root: str) -> None:
    subjects = Subjects(root)
    async with jetstream.connect(url, name="bench", subjects=subjects) as bus:
        await bus.ensure(streams.streams(subjects), [_consumer(subjects, kind) for kind in QUEUES])


def _consumer(subjects: Subjects, kind: str) -> Consumer:
    return Consumer(stream=subjects.stream(QUEUES[kind]), name=kind, subject=subjects.everything(kind), ack_wait_s=60.0)
