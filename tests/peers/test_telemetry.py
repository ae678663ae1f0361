"""Traces and metrics of a whole task: kept in a folder, or sent to a receiver in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace

from harness.house import open_house
from harness.otlp_receiver import otlp_receiver
from metier.cluster import telemetry, traces
from metier.cluster.metrics import Watch
from metier.cluster.tables import tree
from metier.cluster.team import Telemetry
from metier.topics import tracing
from metier.topics.memory import MemoryBus


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    telemetry.shutdown()


async def test_a_task_is_one_trace_with_one_root(bus: MemoryBus, tmp_path: Path) -> None:
    telemetry.setup(service="house", telemetry=Telemetry(), directory=str(tmp_path))

    async with open_house(bus) as house:
        answer = await house.client.ask("red green blue mixer")
    telemetry.shutdown()

    found = traces.read(tmp_path / "traces", answer.trace_id)
    known = {record.span for record in found}
    assert [tracing.INVOKE_WORKFLOW] == [record.name for record in found if record.parent not in known]
    assert {"plan", "invoke_agent mixer", "execute_tool mixer", "send answer"} <= {record.name for record in found}


async def test_the_last_specialist_stands_below_one_it_waited_for(bus: MemoryBus, tmp_path: Path) -> None:
    telemetry.setup(service="house", telemetry=Telemetry(), directory=str(tmp_path))

    async with open_house(bus) as house:
        answer = await house.client.ask("red mixer")
    telemetry.shutdown()

    depth = {record.name: depth for depth, record in tree(traces.read(tmp_path / "traces", answer.trace_id))}
    assert depth["invoke_agent red"] < depth["invoke_agent mixer"]


async def test_a_trace_is_found_by_its_task(bus: MemoryBus, tmp_path: Path) -> None:
    telemetry.setup(service="house", telemetry=Telemetry(), directory=str(tmp_path))

    async with open_house(bus) as house:
        answer = await house.client.ask("red")
    telemetry.shutdown()

    assert [answer.trace_id] == list(traces.of_task(tmp_path / "traces", answer.task_id))


async def test_a_receiver_gets_the_same_spans_over_otlp(bus: MemoryBus, tmp_path: Path) -> None:
    with otlp_receiver(tmp_path) as receiver:
        telemetry.setup(service="house", telemetry=Telemetry(otlp_endpoint=receiver.url), directory=str(tmp_path))
        async with open_house(bus) as house:
            answer = await house.client.ask("red")
            loop = house.loops["red"]
            beat = asyncio.create_task(Watch(loop).run(loop, bus, 0.01))
            await asyncio.sleep(0)
            beat.cancel()
        telemetry.shutdown()
        spans = {span["name"]: span for span in receiver.received("span")}
        counted = {metric["name"]: metric for metric in receiver.received("metric")}

    assert {answer.trace_id} == {span["trace"] for span in spans.values()}
    assert "red" == spans["invoke_agent red"]["attributes"][tracing.GEN_AGENT]
    assert 8 == spans["chat instant model"]["attributes"][tracing.GEN_INPUT_TOKENS]
    assert ("metier", "house") == tuple(
        spans["plan"]["resource"][name] for name in ("service.namespace", "service.name")
    )
    assert not (tmp_path / "traces").exists()
    assert 1 == counted["messaging.client.consumed.messages"]["points"][0]["value"]
    assert {"messaging.process.duration", "gen_ai.client.token.usage"} <= set(counted)
    assert "red" == counted["metier.messages.waiting"]["points"][0]["attributes"]["messaging.consumer.group.name"]


def test_an_error_is_kept_with_its_reason(tmp_path: Path) -> None:
    telemetry.setup(service="client", telemetry=Telemetry(), directory=str(tmp_path))

    with pytest.raises(ValueError, match="broke"), tracing.tracer.start_as_current_span("work") as span:
        raise ValueError("broke")
    telemetry.shutdown()

    assert ["ValueError: broke"] == [r.error for r in traces.read(tmp_path / "traces", tracing.trace_id(span))]


def test_a_share_of_zero_records_nothing_and_still_passes_ids_on(tmp_path: Path) -> None:
    telemetry.setup(service="client", telemetry=Telemetry(sampling=0.0), directory=str(tmp_path))
    headers: dict[str, str] = {}

    with tracing.tracer.start_as_current_span("root"), tracing.tracer.start_as_current_span("child") as child:
        tracing.inject(child, headers)
    telemetry.shutdown()

    assert headers["traceparent"].endswith("-00")
    assert [] == traces.read(tmp_path / "traces", tracing.trace_id(child))


def test_a_child_follows_its_parent_in_another_process(tmp_path: Path) -> None:
    telemetry.setup(service="client", telemetry=Telemetry(sampling=0.0), directory=str(tmp_path))
    far = tracing.extract({"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})

    with tracing.tracer.start_as_current_span("process task", context=far):
        assert "ab" * 16 == tracing.trace_id(trace.get_current_span())
    telemetry.shutdown()

    assert ["cd" * 8] == [record.parent for record in traces.read(tmp_path / "traces", "ab" * 16)]


def test_a_full_file_makes_room_and_the_old_one_is_still_read(tmp_path: Path) -> None:
    store = traces.Store(tmp_path, "client", limit_bytes=600)
    telemetry._provider.open(1.0, store.write, store.close)
    if trace.get_tracer_provider() is not telemetry._provider:
        trace.set_tracer_provider(telemetry._provider)

    with tracing.tracer.start_as_current_span("root") as root:
        for number in range(3):
            with tracing.tracer.start_as_current_span(f"child {number}"):
                pass
            telemetry.flush()
    telemetry.shutdown()

    assert 2 == len(list(tmp_path.iterdir()))
    assert "root" in [record.name for record in traces.read(tmp_path, tracing.trace_id(root))]


async def test_where_results_come_together_their_senders_are_linked(bus: MemoryBus, tmp_path: Path) -> None:
    telemetry.setup(service="house", telemetry=Telemetry(), directory=str(tmp_path))

    async with open_house(bus) as house:
        answer = await house.client.ask("red green blue mixer")
    telemetry.shutdown()
    spans = traces.read(tmp_path / "traces", answer.trace_id)
    sent = {f"{answer.trace_id}-{span.span}" for span in spans if span.name == "send result"}
    joined = [set(span.links) for span in spans if len(span.links) == 3]

    assert 1 == len(joined)
    assert joined[0] < sent
