"""The Synadia agent protocol for NATS, 0.3: the team, and each specialist, as agents that others find on the bus.

    $SRV.{PING,INFO,STATS}.agents        discovery, as a NATS micro service (NATS ADR-32)
    agents.prompt.metier.{tenant}.{session}    one prompt, replied to with chunks, ended by an empty message
    agents.status.metier.{tenant}.{session}    a heartbeat, asked for
    agents.hb.metier.{tenant}.{session}        a heartbeat, every 30 s

A session is the team's name, or the team's and a specialist's joined by a dash. What a task is missing is asked by a
query chunk. Beside `prompt`, an envelope may have `metier`: `{"context": …, "deadline_s": …, "task_id": …}`, the last
to go on with a task whose query nobody replied to.

Source: github.com/synadia-ai/synadia-agents, the protocol's sections 2 to 9.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import msgspec

from metier.topics.asking import refused
from metier.topics.bus import Bus, Received
from metier.topics.ending import end
from metier.topics.messages import Answer, State, Task

from ..gateway import problems
from ..gateway.calls import House
from ..gateway.keys import DEFAULT_TENANT
from ..gateway.problems import Problem
from ..gateway.stream import kept_alive
from . import asking
from .agents_wire import BEAT_S, GROUP, Agent, Envelope, chunk, natural, now, read

#: How long a caller has to reply to a query, in seconds.
QUERY_S = 120.0
#: Prompts that one process works on; more are told to come later.
ROOM = 1_000


class Served:
    """What an agent has done, for STATS."""

    def __init__(self) -> None:
        self.requests = self.errors = self.nanoseconds = 0


class Agents:
    """Serves one tenant's agents. Several processes share the prompts of an agent: each reaches one."""

    def __init__(self, house: House, *, tenant: str = DEFAULT_TENANT, query_s: float = QUERY_S) -> None:
        self._house = house
        self._tenant = tenant
        self._query_s = query_s
        self._working: set[asyncio.Task[None]] = set()
        #: Set once callers are heard.
        self.listening = asyncio.Event()

    @property
    def _bus(self) -> Bus:
        return self._house.opened().bus

    async def run(self) -> None:
        """Serves until it is cancelled; who still waits then is told to come again."""
        agents = {agent: Served() for agent in await self._agents()}
        try:
            async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                for agent, served in agents.items():
                    prompts = await self._heard(stack, agent.subject("prompt"), GROUP)
                    group.create_task(self._prompts(prompts, agent, served))
                    asked = await self._heard(stack, agent.subject("status"), GROUP)
                    group.create_task(self._statuses(asked, agent))
                group.create_task(self._discovery(await self._heard(stack, "$SRV.>", ""), agents))
                self.listening.set()
                group.create_task(self._beat(list(agents)))
        finally:
            await end(*self._working)

    async def _agents(self) -> list[Agent]:
        crew = self._house.crew
        known = await crew.specialists(self._bus)
        team = f"The team {crew.name}, which chooses who works: {', '.join(known)}."
        who = {crew.name: (team, ())} | {f"{crew.name}-{name}": (about, (name,)) for name, about in known.items()}
        return [
            Agent(
                session=natural(session),
                owner=natural(self._tenant),
                about=about,
                specialists=specialists,
                id=uuid4().hex,
                max_payload_bytes=self._bus.payload_limit_bytes,
                started=now(),
            )
            for session, (about, specialists) in who.items()
        ]

    async def _heard(self, stack: AsyncExitStack, subject: str, group: str) -> AsyncIterator[Received]:
        return await stack.enter_async_context(self._bus.subscribe(subject, group=group))

    # ── Discovery and liveness ───────────────────────────────────────────────────────────────────────────────────────

    async def _discovery(self, heard: AsyncIterator[Received], agents: Mapping[Agent, Served]) -> None:
        async for request in heard:
            verb, *whose = request.subject.split(".")[1:]
            for agent, served in agents.items():
                if whose not in ([], [GROUP], [GROUP, agent.id]):
                    continue
                match verb:
                    case "PING":
                        await self._reply(request, agent.ping())
                    case "INFO":
                        await self._reply(request, agent.info())
                    case "STATS":
                        stats = agent.stats(served.requests, served.errors, served.nanoseconds)
                        await self._reply(request, stats)

    async def _statuses(self, heard: AsyncIterator[Received], agent: Agent) -> None:
        async for request in heard:
            await self._reply(request, agent.beat())

    async def _beat(self, agents: Sequence[Agent]) -> None:
        while True:
            for agent in agents:
                await self._bus.emit(agent.subject("hb"), msgspec.json.encode(agent.beat()))
            await asyncio.sleep(BEAT_S)

    async def _reply(self, request: Received, reply: Mapping[str, Any]) -> None:
        if request.reply_to:
            await self._bus.emit(request.reply_to, msgspec.json.encode(reply))

    # ── Prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _prompts(self, heard: AsyncIterator[Received], agent: Agent, served: Served) -> None:
        async for request in heard:
            working = asyncio.create_task(self._prompt(request, agent, served))
            self._working.add(working)
            working.add_done_callback(self._working.discard)

    async def _prompt(self, request: Received, agent: Agent, served: Served) -> None:
        """A reply from its first chunk, or its error, to the empty message at its end."""
        began = time.perf_counter_ns()
        served.requests += 1
        stream = Stream(self._bus, request.reply_to)
        try:
            if len(self._working) > ROOM:
                raise Problem(429, f"{ROOM} prompts are at work already; come again later.")
            await self._work(stream, read(request.payload), agent, request.headers.get("traceparent", ""))
        except asyncio.CancelledError:
            await stream.fail(Problem(503, "This agent stops; prompt again."))
            raise
        except Exception as error:  # noqa: BLE001 - it is told, and logged if nobody expected it
            served.errors += 1
            await stream.fail(problems.of(error))
        finally:
            served.nanoseconds += time.perf_counter_ns() - began
            await stream.end()

    async def _work(self, stream: Stream, envelope: Envelope, agent: Agent, traceparent: str) -> None:
        said, house, tenant = envelope.metier, self._house, self._tenant
        if said.task_id:
            task = await asking.go_on(house, tenant, said.task_id, envelope.prompt, said.deadline_s, traceparent)
        else:
            task = await asking.ask(house, tenant, envelope.prompt, said, agent.specialists, traceparent)
        await stream.send("status", "ack")
        while True:
            answer = await self._followed(stream, task)
            if answer.status is not State.INPUT_REQUIRED:
                break
            words = await stream.query(answer.text, self._query_s)
            if words is None:
                await stream.send("response", f"{answer.text}\nPrompt again with metier.task_id {answer.task_id}.")
                return
            task = await asking.go_on(house, tenant, task.task_id, words, said.deadline_s)
        if answer.status is State.FAILED:
            raise Problem(500, answer.text)
        await stream.send("response", "\n".join((answer.text, *answer.notes)))

    async def _followed(self, stream: Stream, task: Task) -> Answer:
        """The answer; what happens before it is told, and at times only that something still happens."""
        async for item in kept_alive(asking.steps(self._house.opened(), task)):
            if isinstance(item, Answer):
                return item
            await stream.send("status", (asking.told(item) if item else "") or "ack")
        raise AssertionError("a task that is followed ends with its answer or raises")


class Stream:
    """The reply to one prompt."""

    def __init__(self, bus: Bus, reply_to: str) -> None:
        self._bus = bus
        self._reply_to = reply_to

    async def send(self, kind: str, data: object) -> None:
        """One chunk."""
        await self._emit(chunk(kind, data))

    async def query(self, prompt: str, wait_s: float) -> str | None:
        """What the caller says to a question (section 7); None if nothing in time."""
        subject = f"_INBOX.{uuid4().hex}"
        async with self._bus.subscribe(subject) as replies:
            await self.send("query", {"id": uuid4().hex, "reply_subject": subject, "prompt": prompt})
            try:
                async with asyncio.timeout(wait_s):
                    return read((await anext(replies)).payload).prompt.strip() or None
            except TimeoutError:
                return None

    async def fail(self, problem: Problem) -> None:
        """Says what went wrong (section 9: what cannot be understood is 400)."""
        code = 400 if problem.status == 422 else problem.status.value
        await self._emit(b"", refused(code, problem.detail))

    async def end(self) -> None:
        """The empty message that ends a reply."""
        await self._emit(b"")

    async def _emit(self, payload: bytes, headers: Mapping[str, str] = {}) -> None:
        if self._reply_to:
            await self._bus.emit(self._reply_to, payload, headers)
