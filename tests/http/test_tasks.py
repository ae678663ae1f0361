"""Tasks over HTTP: asked, looked at, continued, cancelled, and asked twice."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
from functools import partial
from typing import Any

import msgspec

from harness.gateway import Door, events, gateway, open_door, until
from harness.gateway import client as client_of
from harness.instant import InstantEngine
from harness.nats_server import NatsServer
from metier.cluster.gateway.bodies import TaskBody
from metier.cluster.gateway.door import Accepted, digest, entry


async def look(door: Door, task_id: str) -> Any:
    return (await door.http.get(f"/v1/tasks/{task_id}")).json()


async def test_a_task_is_accepted_and_says_where_it_is_found(door: Door) -> None:
    reply = await door.http.post("/v1/tasks", json={"text": "paint it red"})
    task_id = reply.json()["task_id"]

    assert (202, f"/v1/tasks/{task_id}", "accepted") == (
        reply.status_code,
        reply.headers["location"],
        reply.json()["status"],
    )


async def test_who_prefers_to_wait_gets_the_answer_at_once(door: Door) -> None:
    reply = await door.http.post("/v1/tasks", json={"text": "paint it red"}, headers={"Prefer": "wait=5"})

    assert (200, "wait=5") == (reply.status_code, reply.headers["preference-applied"])
    assert ("ok", "red did 'paint it red'") == (reply.json()["status"], reply.json()["answer"]["text"])


async def test_a_task_is_found_from_the_moment_it_was_accepted(nats: NatsServer) -> None:
    async with open_door(nats, asleep=("router",)) as door:
        task_id = await door.post("paint it red")
        seen = (await door.http.get(f"/v1/tasks/{task_id}")).json()

    assert ("accepted", 1) == (seen["status"], seen["turn"])


async def test_a_task_that_is_at_work_shows_its_plan(nats: NatsServer) -> None:
    async with open_door(nats, asleep=("red",)) as door:
        task_id = await door.post("paint it red")
        seen = await until(partial(look, door, task_id), lambda seen: seen["status"] != "accepted")

    assert ("running", [{"id": "red", "specialist": "red", "needs": []}]) == (seen["status"], seen["plan"]["nodes"])


async def test_looking_may_wait_for_the_answer_too(door: Door) -> None:
    task_id = await door.post("red green blue mixer")
    seen = (await door.http.get(f"/v1/tasks/{task_id}?wait_s=5")).json()

    assert ("ok", {"red", "green", "blue", "mixer"}) == (seen["status"], set(seen["answer"]["results"]))


async def test_a_wait_that_is_too_short_leaves_the_task_at_work(nats: NatsServer) -> None:
    async with open_door(nats, asleep=("red",)) as door:
        reply = await door.http.post("/v1/tasks?wait_s=0.05", json={"text": "red"})

    assert 202 == reply.status_code


async def test_named_specialists_work_alone(door: Door) -> None:
    seen = await door.ask("red green blue, says the text", specialists=["green"])

    assert ["green"] == [node["id"] for node in seen["plan"]["nodes"]]


async def test_a_specialist_nobody_knows_is_the_answer_of_the_router(door: Door) -> None:
    seen = await door.ask("red", specialists=["purple"])

    assert "failed" == seen["status"]
    assert "'purple' is not a specialist: this team has red, green, blue, mixer." == seen["answer"]["text"]


async def test_a_cancelled_task_says_so(nats: NatsServer) -> None:
    async with open_door(nats, red=InstantEngine({}, pause_s=30)) as door:
        task_id = await door.post("red")
        await until(partial(look, door, task_id), lambda seen: seen["status"] == "running")
        cancelled = await door.http.delete(f"/v1/tasks/{task_id}")

    assert (200, "cancelled") == (cancelled.status_code, cancelled.json()["status"])


async def test_cancelling_what_has_ended_changes_nothing(door: Door) -> None:
    task_id = (await door.ask("red"))["task_id"]
    cancelled = await door.http.delete(f"/v1/tasks/{task_id}")

    assert (200, "ok") == (cancelled.status_code, cancelled.json()["status"])


# ── Twice is once ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_same_key_twice_is_one_task(door: Door) -> None:
    ask = {"url": "/v1/tasks?wait_s=5", "json": {"text": "red"}, "headers": {"Idempotency-Key": "order-7"}}
    first, again = await door.http.post(**ask), await door.http.post(**ask)  # type: ignore[arg-type]

    assert first.json() == again.json()
    assert 1 == door.house.tools["red"].ran


async def test_the_same_key_at_the_same_time_is_one_task(door: Door) -> None:
    ask = {"url": "/v1/tasks?wait_s=5", "json": {"text": "red"}, "headers": {"Idempotency-Key": "order-7"}}
    replies = await asyncio.gather(*(door.http.post(**ask) for _ in range(8)))  # type: ignore[arg-type]

    assert 1 == len({reply.json()["task_id"] for reply in replies})
    assert 1 == door.house.tools["red"].ran


async def test_the_same_key_through_two_gateways_is_one_task(door: Door) -> None:
    ask = {"url": "/v1/tasks?wait_s=5", "json": {"text": "red"}, "headers": {"Idempotency-Key": "order-7"}}
    async with gateway(door.nats.url) as other, client_of(other) as http:
        replies = await asyncio.gather(door.http.post(**ask), http.post(**ask))  # type: ignore[arg-type]

    assert 1 == len({reply.json()["task_id"] for reply in replies})
    assert 1 == door.house.tools["red"].ran


async def test_a_key_does_not_stand_for_another_request(door: Door) -> None:
    key = {"Idempotency-Key": "order-7"}
    await door.http.post("/v1/tasks", json={"text": "red"}, headers=key)
    other = await door.http.post("/v1/tasks", json={"text": "green"}, headers=key)

    assert (422, "urn:metier:problem:idempotency-key-reused") == (other.status_code, other.json()["type"])


async def test_a_task_whose_gateway_died_before_it_published_is_published_by_the_next_try(door: Door) -> None:
    body = TaskBody(text="red")
    task = body.task("default", hashlib.sha256(b"default\norder-7").hexdigest()[:32])
    accepted = Accepted(task=task, at=dt.datetime.now(dt.UTC), digest=digest(body))
    await door.house.bus.write(entry("default", task.task_id), msgspec.json.encode(accepted), 0)

    assert "accepted" == (await door.http.get(f"/v1/tasks/{task.task_id}")).json()["status"]
    reply = await door.http.post("/v1/tasks?wait_s=5", json={"text": "red"}, headers={"Idempotency-Key": "order-7"})
    assert (task.task_id, "ok") == (reply.json()["task_id"], reply.json()["status"])


# ── Going on ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_input_for_a_task_that_waits_for_none_is_a_conflict(door: Door) -> None:
    task_id = (await door.ask("red"))["task_id"]
    reply = await door.http.post(f"/v1/tasks/{task_id}/input", json={"text": "scarlet"})

    assert (409, "urn:metier:problem:no-input-required") == (reply.status_code, reply.json()["type"])


async def test_what_was_missing_can_be_said(door: Door) -> None:
    door.house.tools["red"].asks = "scarlet"
    asked = await door.ask("red")
    done = await door.http.post(f"/v1/tasks/{asked['task_id']}/input?wait_s=5", json={"text": "scarlet"})

    assert ("input_required", ["red.scarlet"]) == (asked["status"], asked["answer"]["missing"])
    assert ("ok", 2, "red did 'red\\nscarlet'") == (
        done.json()["status"],
        done.json()["turn"],
        done.json()["answer"]["text"],
    )


async def test_input_is_taken_once(nats: NatsServer) -> None:
    async with open_door(nats) as door:
        door.house.tools["red"].asks = "scarlet"
        path = f"/v1/tasks/{(await door.ask('red'))['task_id']}/input"
        await door.house.loops["router"].stop(1)
        first = await door.http.post(path, json={"text": "scarlet"})
        again = await door.http.post(path, json={"text": "scarlet"})
        other = await door.http.post(path, json={"text": "scarlet, no: crimson"})

    assert (202, 202, 409) == (first.status_code, again.status_code, other.status_code)
    assert "urn:metier:problem:input-given" == other.json()["type"]


async def test_a_turns_events_end_with_its_answer(door: Door) -> None:
    task_id = await door.post("red green")
    seen = await events(door.http, task_id)

    assert ("planned", "answer") == (seen[0].name, seen[-1].name)
    assert {"started", "called", "finished"} <= {event.name for event in seen}
    assert [int(event.id) for event in seen[:-1]] == sorted({int(event.id) for event in seen[:-1]})
