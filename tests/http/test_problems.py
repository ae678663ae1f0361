"""Bad input: a clear problem or no harm, and never an error of the server's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest

from harness.gateway import Door, gateway, open_door, status_is, team, until
from harness.instant import InstantEngine
from harness.nats_server import NatsServer
from metier.cluster.gateway.settings import Gateway, Limits

JSON = {"content-type": "application/json"}


BODIES = {
    b"{": (400, "malformed-json"),
    b"": (400, "malformed-json"),
    b"\xff\xfe": (400, "malformed-json"),
    b'{"text": "red"} red': (400, "malformed-json"),
    b"[" * 100_000: (422, "invalid-body"),
    b'{"text": ' + b"[" * 100_000: (422, "invalid-body"),
    b"[]": (422, "invalid-body"),
    b"{}": (422, "invalid-body"),
    b'{"text": 7}': (422, "invalid-body"),
    b'{"text": ""}': (422, "invalid-body"),
    b'{"text": " "}': (422, "empty-text"),
    b'{"text": "red", "colour": "red"}': (422, "invalid-body"),
    b'{"text": "red", "deadline_s": 0}': (422, "invalid-body"),
    b'{"text": "red", "class": "urgent"}': (422, "invalid-body"),
    b'{"text": "red", "specialists": ["a.b"]}': (422, "invalid-body"),
    b'{"text": "red", "context": {"time_zone": "Mars/Olympus"}}': (422, "invalid-value"),
    b'{"text": "red", "context": {"time_zone": "\\u0000"}}': (422, "invalid-value"),
    b'{"text": "%s"}' % (b"x" * 8001): (422, "invalid-body"),
    b'{"text": "%s"}' % (b"x" * 1024 * 1024): (413, "request-entity-too-large"),
    b"x" * 3 * 1024 * 1024: (413, "request-entity-too-large"),
}


async def test_a_body_that_is_not_a_task_is_refused(door: Door) -> None:
    refused = {}
    for content in BODIES:
        reply = await door.http.post("/v1/tasks", content=content, headers=JSON)
        refused[content] = (reply.status_code, reply.json()["type"].removeprefix("urn:metier:problem:"))
        assert "application/problem+json" == reply.headers["content-type"]

    assert BODIES == refused


async def test_a_body_without_a_length_is_bounded_too(door: Door) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    reply = await door.http.post("/v1/tasks", content=endless(), headers=JSON)

    assert 413 == reply.status_code


async def test_a_body_must_say_that_it_is_json(door: Door) -> None:
    replies = [
        await door.http.post("/v1/tasks", content=b'{"text": "red"}', headers=headers)
        for headers in ({}, {"content-type": "text/plain"})
    ]

    assert [415, 415] == [reply.status_code for reply in replies]


async def test_a_body_that_does_not_come_is_not_waited_for(nats: NatsServer) -> None:
    async with gateway(nats.url, Gateway(port=0, limits=Limits(body_s=0.2))) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
        writer.write(
            b"POST /v1/tasks HTTP/1.1\r\nhost: 127.0.0.1\r\n"
            b"content-type: application/json\r\ncontent-length: 99\r\n\r\n{"
        )
        async with asyncio.timeout(5):
            said = await reader.read()  # to the end: the door closes the connection
        writer.close()

    assert said.startswith(b"HTTP/1.1 408 ")


SLOW = {
    b"": b"",
    b"POST /v1/ta": b"HTTP/1.1 408 ",
    b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ": b"HTTP/1.1 408 ",
    b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\nGET /heal": b"HTTP/1.1 200 ",
    b"GET /healthz HTTP/1.1\r\nx-long: " + b"x" * 70_000: b"HTTP/1.1 431 ",
    b"tasks, please\r\n\r\n": b"HTTP/1.1 400 ",
}


@pytest.mark.parametrize("head", SLOW, ids=["nothing", "a line", "headers", "the second", "too many", "other words"])
async def test_a_head_that_does_not_end_is_not_waited_for(nats: NatsServer, head: bytes) -> None:
    async with gateway(nats.url, Gateway(port=0, limits=Limits(body_s=0.2))) as address:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(address).port)
        writer.write(head)
        async with asyncio.timeout(5):
            said = await reader.read()  # to the end: the door closes the connection
        writer.close()

    assert said.startswith(SLOW[head])
    assert (b"application/problem+json" in said) is bool(head)


async def test_a_head_that_comes_in_pieces_is_read(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(door.address).port)
    for number in range(2):  # on one connection
        for piece in (b"GET /heal", b"thz HTTP/1.1\r\nho", b"st: 127.0.0.1\r\n", b"\r\n"):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200 "), number
    writer.close()


@pytest.mark.parametrize("path", ["/v1/tasks/nothing", "/v1/tasks/a.b", "/v1/tasks/%2A", "/v1/tasks/" + "x" * 65])
async def test_a_task_nobody_knows_is_not_found(door: Door, path: str) -> None:
    replies = [
        await door.http.get(path),
        await door.http.delete(path),
        await door.http.get(f"{path}/events"),
        await door.http.post(f"{path}/input", json={"text": "red"}),
    ]

    assert {(404, "urn:metier:problem:unknown-task")} == {(one.status_code, one.json()["type"]) for one in replies}


@pytest.mark.parametrize(("status", "method", "path"), [(404, "GET", "/nowhere"), (405, "PUT", "/v1/tasks")])
async def test_what_is_not_there_is_a_problem_too(door: Door, status: int, method: str, path: str) -> None:
    reply = await door.http.request(method, path)

    assert (status, "application/problem+json") == (reply.status_code, reply.headers["content-type"])


@pytest.mark.parametrize(
    ("path", "headers"),
    [("?wait_s=soon", {}), ("?wait_s=-1", {}), ("?wait_s=nan", {}), ("/none/events?after=x", {})],
)
async def test_a_parameter_that_means_nothing_is_refused(door: Door, path: str, headers: dict[str, str]) -> None:
    ask = (
        door.http.get(f"/v1/tasks{path}")
        if "events" in path
        else door.http.post(f"/v1/tasks{path}", json={"text": "x"})
    )

    assert 422 == (await ask).status_code


async def test_a_preference_that_means_nothing_is_passed_over(door: Door) -> None:
    reply = await door.http.post("/v1/tasks", json={"text": "red"}, headers={"Prefer": "wait=long"})

    assert 202 == reply.status_code


async def test_an_idempotency_key_that_is_none_is_refused(door: Door) -> None:
    reply = await door.http.post("/v1/tasks", json={"text": "red"}, headers={"Idempotency-Key": "a b"})

    assert 400 == reply.status_code


# ── When it is too much, or nobody is there ──────────────────────────────────────────────────────────────────────────


async def test_a_busy_team_says_when_to_come_back(nats: NatsServer, tmp_path: Path) -> None:
    async with open_door(nats, team=team(tmp_path), red=InstantEngine({}, pause_s=0.4)) as door:
        await asyncio.gather(*(door.post("red", deadline_s=600) for _ in range(200)))
        hurried = {"text": "red", "deadline_s": 0.5, "specialists": ["red"]}
        reply = await until(partial(door.http.post, "/v1/tasks", json=hurried), status_is(429))
        waiting = (await door.house.bus.lag(door.house.consumers["red"])).waiting
        patient = await door.http.post("/v1/tasks", json={**hurried, "deadline_s": 600})
        another = await door.http.post("/v1/tasks", json={**hurried, "specialists": ["green"]})

    # Eight at once, 0.4 s each: at most 20 a second, and fewer on a busy machine.
    assert 0.8 * (waiting / 20 - 0.5) <= int(reply.headers["retry-after"]) <= 3 * waiting / 20
    assert (202, 202) == (patient.status_code, another.status_code)


async def test_a_gateway_without_a_bus_is_alive_and_not_ready(nats: NatsServer) -> None:
    nats.stop()
    async with gateway(nats.url) as address, httpx.AsyncClient(base_url=address) as http:
        replies = [await http.get(path) for path in ("/healthz", "/readyz", "/v1/tasks/x")]
        nats.start()

    assert [200, 503, 503] == [reply.status_code for reply in replies]
    assert "2" == replies[2].headers["retry-after"]


async def test_a_bus_that_goes_away_is_said_and_waited_for(door: Door) -> None:
    door.nats.stop()
    away = await door.http.get("/readyz")
    door.nats.start()
    await until(partial(door.http.get, "/readyz"), status_is(200))

    assert 503 == away.status_code
    assert "ok" == (await door.ask("red"))["status"]


async def test_who_watches_is_told_that_the_bus_is_away_and_then_that_it_is_back(
    nats: NatsServer, tmp_path: Path
) -> None:
    async with (
        open_door(nats, team=team(tmp_path)) as door,
        door.http.stream("GET", "/v1/team/events") as reply,
        asyncio.timeout(60),
    ):
        lines = reply.aiter_lines()
        await line(lines, "event: team")
        nats.stop()
        await line(lines, "event: problem")
        told = json.loads((await anext(lines)).removeprefix("data: "))
        nats.start()
        await line(lines, "event: team")

    assert (503, "urn:metier:problem:unavailable") == (told["status"], told["type"])


async def line(lines: AsyncIterator[str], wanted: str) -> None:
    """Reads on to a line."""
    async for found in lines:
        if found == wanted:
            return
    raise EOFError(wanted)


async def test_a_gateway_holds_as_many_streams_as_it_was_told(nats: NatsServer) -> None:
    async with open_door(nats, Gateway(port=0, limits=Limits(streams=1)), asleep=("red",)) as door:
        task_id = await door.post("red")
        async with door.http.stream("GET", f"/v1/tasks/{task_id}/events") as first:
            lines = first.aiter_lines()
            await anext(lines)
            second = await door.http.get(f"/v1/tasks/{task_id}/events")

        async def status() -> int:
            async with door.http.stream("GET", f"/v1/tasks/{task_id}/events") as third:
                return third.status_code

        assert 200 == await until(status, lambda status: status != 503)  # the first has left: its place is free
    assert (503, "urn:metier:problem:too-many-streams") == (second.status_code, second.json()["type"])
