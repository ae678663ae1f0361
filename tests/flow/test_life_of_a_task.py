"""What a client sees of a task, whatever happens on the way."""

from __future__ import annotations

import asyncio
import datetime as dt

import msgspec
import pytest

from harness.counted import CountedBus
from harness.house import ROSTER, SUBJECTS, open_house, stored
from harness.instant import InstantEngine
from metier.actors.policy import Roster
from metier.topics import ledger, streams
from metier.topics.bus import Publication
from metier.topics.codec import encode
from metier.topics.errors import InvalidInput, Timeout
from metier.topics.memory import Faults, MemoryBus
from metier.topics.messages import Answer, Context, Event, Privacy, State, Task


async def test_one_specialist_answers_alone(bus: MemoryBus) -> None:
    async with open_house(bus) as house:
        answer = await house.client.ask("paint it red")

    assert answer.status is State.OK
    assert answer.text == "red did 'paint it red'"
    assert [node.id for node in answer.plan.nodes] == ["red"]


async def test_the_last_specialist_waits_for_the_three_before_it(bus: MemoryBus) -> None:
    async with open_house(bus) as house:
        answer = await house.client.ask("red green blue mixer")

    assert answer.status is State.OK
    assert answer.text == "mixer did 'red green blue mixer' after blue, green, red"
    assert {n.id: set(n.needs) for n in answer.plan.nodes}["mixer"] == {"red", "green", "blue"}
    assert set(answer.results) == {"red", "green", "blue", "mixer"}


async def test_followers_see_the_plan_the_work_and_then_the_answer(bus: MemoryBus) -> None:
    async with open_house(bus) as house:
        task = await house.client.submit("red green")
        seen = [item async for item in house.client.follow(task)]

    events = [item for item in seen if isinstance(item, Event)]
    assert isinstance(seen[-1], Answer)
    assert events[0].what == "planned"
    assert {"started", "called", "finished"} <= {event.what for event in events}


async def test_an_open_question_goes_to_the_large_model_and_streams(bus: MemoryBus) -> None:
    async with open_house(bus, large=InstantEngine("Because it is.")) as house:
        task = await house.client.submit("why is the sky blue?")
        seen = [item async for item in house.client.follow(task)]

    answer = seen[-1]
    assert isinstance(answer, Answer)
    assert answer.text == "Because it is."
    assert answer.notes == (
        "No large model is configured: instant model, the small base model, answered in its place.",
    )
    assert "Because it is." in "".join(item.text for item in seen if isinstance(item, Event) and item.what == "tokens")


async def test_an_unsure_specialist_gives_its_node_up_to_the_large_model(bus: MemoryBus) -> None:
    unsure = InstantEngine({}, confidence=0.1)
    async with open_house(bus, red=unsure, large=InstantEngine("scarlet")) as house:
        answer = await house.client.ask("red")

        assert answer.status is State.OK
        assert answer.text == "scarlet"
        assert house.tools["red"].ran == 0


async def test_a_specialist_that_finds_no_tool_fitting_gives_its_node_up(bus: MemoryBus) -> None:
    refusal = InstantEngine({"tool": None})
    async with open_house(bus, refusing=("red",), red=refusal, large=InstantEngine("scarlet")) as house:
        answer = await house.client.ask("red")

        assert answer.status is State.OK
        assert answer.text == "scarlet"
        assert house.tools["red"].ran == 0


async def test_a_private_task_is_not_given_up_to_a_model_outside(bus: MemoryBus) -> None:
    outside = msgspec.structs.replace(ROSTER.tiers["large"], local=False)
    roster = msgspec.structs.replace(ROSTER, tiers={"large": outside})
    async with open_house(bus, roster=roster, red=InstantEngine({}, confidence=0.1)) as house:
        answer = await house.client.ask("red", privacy=Privacy.LOCAL)

    assert answer.status is State.FAILED
    assert "the task is private and tier large is not local" in answer.text


async def test_what_seems_private_is_not_given_up_to_a_model_outside(bus: MemoryBus) -> None:
    outside = msgspec.structs.replace(ROSTER.tiers["large"], local=False)
    roster = msgspec.structs.replace(ROSTER, tiers={"large": outside})
    async with open_house(bus, roster=roster, red=InstantEngine({}, confidence=0.1)) as house:
        answer = await house.client.ask("psst, red")

    assert answer.status is State.FAILED
    assert "the task is private and tier large is not local" in answer.text


async def test_a_team_without_a_large_model_says_so(bus: MemoryBus) -> None:
    roster = Roster(needs=ROSTER.needs)
    async with open_house(bus, roster=roster) as house:
        answer = await house.client.ask("what?")

    assert answer.status is State.FAILED
    assert "no larger model" in answer.text


async def test_a_model_that_breaks_is_tried_again(bus: MemoryBus) -> None:
    async with open_house(bus, red=InstantEngine({}, failures=2)) as house:
        answer = await house.client.ask("red")

    assert answer.status is State.OK


async def test_a_model_that_never_works_fails_its_node_and_is_buried(bus: MemoryBus) -> None:
    async with open_house(bus, max_attempts=2, red=InstantEngine({}, failures=99)) as house:
        answer = await house.client.ask("red green")
        (dead,) = await stored(bus, streams.DEAD, SUBJECTS.dead("red"), 1)

    assert answer.status is State.OK
    assert answer.missing == ("red",)
    assert "the model broke" in answer.text
    assert dead["reason"] == "RuntimeError: the model broke"


async def test_a_message_that_killed_every_reader_is_buried_unread(bus: MemoryBus) -> None:
    async with open_house(bus, asleep=("red",), max_attempts=2) as house:
        task = await house.client.submit("red")
        async with bus.pull(house.consumers["red"]) as pull:
            for _ in range(2):
                (delivery,) = await pull.fetch(1)
                await delivery.nak()
        reader = asyncio.create_task(house.loops["red"].run())
        answer = await house.client.result(task)
        await house.loops["red"].stop(1.0)
        await reader

    assert answer.status is State.FAILED
    assert "its process died each time" in answer.text
    assert house.tools["red"].ran == 0


async def test_the_deadline_answers_for_a_specialist_that_is_away(bus: MemoryBus) -> None:
    async with open_house(bus, asleep=("blue",)) as house:
        answer = await house.client.ask("red blue", deadline_s=0.4)

    assert answer.status is State.EXPIRED
    assert answer.missing == ("blue",)
    assert "blue: no result by the deadline." in answer.text
    assert answer.results["red"].state is State.OK


async def test_the_deadline_of_an_answered_task_is_let_go_without_a_look_into_the_ledger(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ledger, "REMEMBERED", 0)
    bus = CountedBus(SUBJECTS)
    async with open_house(bus) as house:
        await house.client.ask("red", deadline_s=0.3)
        record = house.loops["aggregator"].record
        reads, handled = bus.reads, record.handled
        async with asyncio.timeout(5):
            while record.handled == handled:  # noqa: ASYNC110 - the loop has no event for it
                await asyncio.sleep(0.01)

    assert reads == bus.reads
    await bus.close()


async def test_a_slow_model_is_stopped_at_the_deadline(bus: MemoryBus) -> None:
    async with open_house(bus, red=InstantEngine({}, pause_s=30)) as house:
        answer = await house.client.ask("red", deadline_s=0.6)

    assert answer.status is State.EXPIRED


async def test_a_cancelled_task_says_so_and_its_work_stops(bus: MemoryBus) -> None:
    async with open_house(bus, red=InstantEngine({}, pause_s=30)) as house:
        task = await house.client.submit("red")
        last: Event | Answer | None = None
        async for item in house.client.follow(task):
            if isinstance(item, Event) and item.what == "started":
                await house.client.cancel(task)
            last = item

        assert isinstance(last, Answer)
        assert last.status is State.CANCELLED
        assert house.tools["red"].ran == 0


async def test_another_tenant_cannot_cancel_a_task(bus: MemoryBus) -> None:
    async with open_house(bus, red=InstantEngine({}, pause_s=0.5)) as house:
        task = await house.client.submit("red")
        stranger = type(house.client)(bus, SUBJECTS, tenant="stranger")
        await stranger.cancel(task)
        answer = await house.client.result(task)

    assert answer.status is State.OK


async def test_a_task_for_one_specialist_alone_goes_past_the_encoder(bus: MemoryBus) -> None:
    task = Task(task_id="alone", text="red green, whatever?", specialists=("green",))
    async with open_house(bus) as house:
        await bus.publish(Publication(SUBJECTS.task("default", "interactive"), encode(task)))
        answer = await house.client.result(task, wait_s=5)

    assert answer.text == "green did 'red green, whatever?'"
    assert [node.id for node in answer.plan.nodes] == ["green"]


async def test_a_task_for_a_specialist_nobody_knows_is_answered_with_who_is_there(bus: MemoryBus) -> None:
    task = Task(task_id="alone", text="red", specialists=("purple",))
    async with open_house(bus) as house:
        await bus.publish(Publication(SUBJECTS.task("default", "interactive"), encode(task)))
        answer = await house.client.result(task, wait_s=5)

    assert answer.status is State.FAILED
    assert answer.text == "'purple' is not a specialist: this team has red, green, blue, mixer."


async def test_the_same_task_id_twice_is_one_task(bus: MemoryBus) -> None:
    async with open_house(bus) as house:
        first = await house.client.ask("red", task_id="once")
        again = await house.client.ask("green", task_id="once")

        assert again == first
        assert house.tools["green"].ran == 0


async def test_a_follow_up_nobody_waits_for_is_refused_before_it_is_sent(bus: MemoryBus) -> None:
    async with open_house(bus) as house:
        answer = await house.client.ask("red")

        with pytest.raises(InvalidInput, match="does not wait for input"):
            await house.client.follow_up(answer.task_id, "more")


async def test_a_task_published_by_hand_is_answered(bus: MemoryBus) -> None:
    async with open_house(bus) as house:
        await bus.publish(Publication(SUBJECTS.task("default", "interactive"), b'{"text": "red"}'))
        answer = await house.client.result(Task(task_id="task-1", text="red"), wait_s=5)

    assert answer.status is State.OK


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"not json", "Not a valid task: JSON is malformed"),
        (b'{"task_id": "x"}', "Object missing required field `text`"),
        (b'{"text": "red", "colour": "dark"}', "Object contains unknown field `colour`"),
        (b'{"type": "task/9", "text": "red"}', "This task has version 9; this Metier reads version 1."),
        (b'{"text": "red", "context": {"date": "2026-02-30"}}', "Invalid RFC3339 encoded date - at `$.context.date`"),
        (b'{"text": "red", "deadline_s": 0}', "Expected `float` > 0.0 - at `$.deadline_s`"),
    ],
)
async def test_bytes_that_are_no_task_are_buried_with_their_reason(bus: MemoryBus, payload: bytes, reason: str) -> None:
    async with open_house(bus):
        await bus.publish(Publication(SUBJECTS.task("default", "interactive"), payload))
        (dead,) = await stored(bus, streams.DEAD, SUBJECTS.dead("router"), 1)

    assert reason in dead["reason"]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b'{"task_id": "t", "text": "  "}', "The text is empty: a task needs at least one word."),
        (b'{"task_id": "t", "text": "%s"}' % (b"x" * 9000), "The text has 9000 characters; the limit is 8000."),
        (b'{"task_id": "t", "text": "red", "tenant": "other"}', "the task says tenant 'other'"),
        (b'{"task_id": "t", "text": "red", "context": {"time_zone": "Mars/Base"}}', "'Mars/Base' is not a time zone"),
        (b'{"task_id": "t", "text": "red", "turn": 2}', "No trace of task t"),
    ],
)
async def test_a_task_that_cannot_be_accepted_is_answered_with_the_reason(
    bus: MemoryBus, payload: bytes, said: str
) -> None:
    async with open_house(bus):
        await bus.publish(Publication(SUBJECTS.task("default", "interactive"), payload))
        (answer,) = await stored(bus, streams.ANSWERS, SUBJECTS.everything("answer"), 1)

    assert answer["status"] == "failed"
    assert said in answer["text"]


async def test_an_answer_that_never_comes_is_a_timeout(bus: MemoryBus) -> None:
    async with open_house(bus, asleep=("router",)) as house:
        task = await house.client.submit("red")

        with pytest.raises(Timeout, match=r"Nothing came within 0\.2 s: no answer to task"):
            await house.client.result(task, wait_s=0.2)


async def test_the_day_of_a_task_is_the_day_it_was_accepted_in_its_own_time_zone(bus: MemoryBus) -> None:
    engine = InstantEngine({})
    async with open_house(bus, red=engine) as house:
        answer = await house.client.ask("red", context=Context(time_zone="Pacific/Kiritimati"))
        plan = await bus.read(f"default.{answer.task_id}")

    assert plan
    day = msgspec.json.decode(plan.value)["task"]["context"]["date"]
    assert day == (dt.datetime.now(dt.UTC) + dt.timedelta(hours=14)).date().isoformat()


@pytest.mark.parametrize("seed", range(5))
async def test_every_task_gets_one_answer_on_a_bus_that_loses_doubles_and_shuffles(seed: int) -> None:
    bus = MemoryBus(SUBJECTS, Faults(duplicate=0.2, drop=0.1, reorder=0.5, redeliver=0.1, conflict=0.2), seed=seed)
    async with open_house(bus, ack_wait_s=0.15, max_attempts=50) as house:
        answers = await asyncio.gather(*(house.client.ask("red green blue mixer", deadline_s=60) for _ in range(20)))
        count = await bus.messages(streams.ANSWERS)
    await bus.close()

    assert count == 20
    assert {answer.status for answer in answers} == {State.OK}
    assert {answer.text for answer in answers} == {"mixer did 'red green blue mixer' after blue, green, red"}
