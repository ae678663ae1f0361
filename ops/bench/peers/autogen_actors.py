"""The actors of `autogen_grpc`: one worker runtime in each process, and the host that joins them.

python -m ops.bench.peers.autogen_actors host|router|aggregator|red|green|blue ADDRESS
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

import uvloop
from autogen_core import AgentId, MessageContext, RoutedAgent, message_handler
from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost

from ops.bench.contender import SPECIALISTS


@dataclass
class Task:
    """What is asked."""

    text: str


@dataclass
class Finding:
    """What a specialist found."""

    specialist: str
    text: str
    confidence: float


@dataclass
class Findings:
    """All of them, as JSON: https://microsoft.github.io/autogen/stable has no nested dataclasses in messages."""

    text: str
    texts: list[str]


@dataclass
class Answer:
    """What is answered."""

    text: str
    findings: list[str]


class Router(RoutedAgent):
    """Asks those whom the text names, all at once, and then the aggregator."""

    @message_handler
    async def route(self, message: Task, ctx: MessageContext) -> Answer:
        """The answer."""
        names = [name for name in SPECIALISTS if name in message.text.split()]
        found = await asyncio.gather(*(self.send_message(message, AgentId(name, "default")) for name in names))
        findings = Findings(text=message.text, texts=[finding.text for finding in found])
        answer: Answer = await self.send_message(findings, AgentId("aggregator", "default"))
        return answer


class Specialist(RoutedAgent):
    """Returns at once."""

    @message_handler
    async def find(self, message: Task, ctx: MessageContext) -> Finding:
        """A finding."""
        return Finding(specialist=self.id.type, text=message.text, confidence=1.0)


class Aggregator(RoutedAgent):
    """Makes one answer of the findings."""

    @message_handler
    async def aggregate(self, message: Findings, ctx: MessageContext) -> Answer:
        """The answer."""
        return Answer(text=" ".join(message.texts), findings=message.texts)


ACTORS: dict[str, type[RoutedAgent]] = {
    "router": Router,
    "aggregator": Aggregator,
    **dict.fromkeys(SPECIALISTS, Specialist),
}


async def work(actor: str, address: str) -> None:
    """Runs the host or one actor until SIGTERM."""
    if actor == "host":
        host = GrpcWorkerAgentRuntimeHost(address=address)
        host.start()
        await host.stop_when_signal()
        return
    runtime = await joined(address)
    kind = ACTORS[actor]
    await kind.register(runtime, actor, lambda: kind(actor))
    await runtime.stop_when_signal()


async def joined(address: str) -> GrpcWorkerAgentRuntime:
    """A worker runtime that knows the messages."""
    from autogen_core import try_get_known_serializers_for_type as serializers

    runtime = GrpcWorkerAgentRuntime(host_address=address)
    for message in (Task, Finding, Findings, Answer):
        runtime.add_message_serializer(serializers(message))
    await runtime.start()
    return runtime


if __name__ == "__main__":
    uvloop.run(work(*sys.argv[1:]))
