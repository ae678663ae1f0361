"""Who may: keys, and tenants that see nothing of each other."""

from __future__ import annotations

import datetime as dt
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from harness.gateway import Door, gateway, open_door, team, until
from harness.nats_server import NatsServer
from metier.cluster.gateway import keys, server
from metier.cluster.gateway.settings import Gateway
from metier.topics.errors import InvalidInput
from metier.topics.subjects import Subjects


@pytest.fixture
def acme(tmp_path: Path) -> tuple[Path, str, str]:
    """A file of keys, and those of two tenants."""
    acme, line = keys.new("acme")
    other, second = keys.new("other")
    file = tmp_path / "keys"
    file.write_text(f"# ours\n{line}\n\n{second}\n")
    return file, acme, other


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_without_a_valid_key_nothing_is_told(nats: NatsServer, acme: tuple[Path, str, str]) -> None:
    settings = Gateway(port=0, keys=str(acme[0]))
    async with gateway(nats.url, settings) as address, httpx.AsyncClient(base_url=address) as http:
        replies = [
            await http.get("/v1/tasks/any", headers=headers)
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {acme[1]}"})
        ]

    assert {(401, "Bearer")} == {(reply.status_code, reply.headers["www-authenticate"]) for reply in replies}


async def test_another_tenants_task_is_not_found(nats: NatsServer, acme: tuple[Path, str, str]) -> None:
    file, mine, other = acme
    async with open_door(nats, Gateway(port=0, keys=str(file))) as door:
        asked = await door.http.post("/v1/tasks?wait_s=5", json={"text": "red"}, headers=bearer(mine))
        path = f"/v1/tasks/{asked.json()['task_id']}"
        stranger = [
            await door.http.request(method, path, json=body, headers=bearer(other))
            for method, path, body in (
                ("GET", path, None),
                ("GET", f"{path}/events", None),
                ("DELETE", path, None),
                ("POST", f"{path}/input", {"text": "red"}),
                ("GET", "/v1/tasks/x", None),
            )
        ]

    assert ("acme", "ok") == (asked.json()["answer"]["tenant"], asked.json()["status"])
    assert {404} == {one.status_code for one in stranger}
    assert 1 == len({one.text.replace(asked.json()["task_id"], "x") for one in stranger})


async def test_a_conversation_that_names_another_tenants_task_begins_its_own(
    nats: NatsServer, tmp_path: Path, acme: tuple[Path, str, str]
) -> None:
    file, mine, other = acme
    async with open_door(nats, Gateway(port=0, keys=str(file)), team(tmp_path)) as door:
        door.house.tools["red"].asks = "scarlet"
        asked = await door.http.post("/v1/tasks?wait_s=5", json={"text": "red"}, headers=bearer(mine))
        task_id = asked.json()["task_id"]
        stranger = [await reply(door, other, name) for name in (task_id, "none")]
        waits = (await door.http.get(f"/v1/tasks/{task_id}", headers=bearer(mine))).json()
        owner = await reply(door, mine, task_id)

    assert "red did 'red\\nscarlet'" == stranger[0]["choices"][0]["message"]["content"]
    assert stranger[0]["choices"] == stranger[1]["choices"]
    assert task_id not in str(stranger)
    assert ("input_required", 1) == (waits["status"], waits["turn"])
    assert task_id == owner["metier"]["task_id"]


async def reply(door: Door, key: str, task_id: str) -> Any:
    """What the model says to the answer to a question that a task asked."""
    said = ["red", f"red needs to know: scarlet.\n\nReply to continue task {task_id}.", "scarlet"]
    talk = [{"role": role, "content": text} for role, text in zip(("user", "assistant", "user"), said, strict=True)]
    body = {"model": "house", "messages": talk}
    return (await door.http.post("/v1/chat/completions", json=body, headers=bearer(key))).json()


async def test_the_same_idempotency_key_of_two_tenants_is_two_tasks(
    nats: NatsServer, acme: tuple[Path, str, str]
) -> None:
    file, *both = acme
    async with open_door(nats, Gateway(port=0, keys=str(file))) as door:
        replies = [
            await door.http.post(
                "/v1/tasks", json={"text": text}, headers={"authorization": f"Bearer {key}", "idempotency-key": "1"}
            )
            for key, text in zip(both, ("red", "green"), strict=True)
        ]

    assert [202, 202] == [reply.status_code for reply in replies]


async def test_a_key_that_has_ended_or_was_taken_away_is_refused(nats: NatsServer, tmp_path: Path) -> None:
    ended, line = keys.new("acme", dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1))
    good, other = keys.new("acme", dt.datetime.now(dt.UTC).date())
    file = tmp_path / "keys"
    file.write_text(f"{line}\n{other}\n")
    async with open_door(nats, Gateway(port=0, keys=str(file))) as door:

        async def status(key: str) -> int:
            return (await door.http.get("/v1/tasks/x", headers={"authorization": f"Bearer {key}"})).status_code

        assert (401, 404) == (await status(ended), await status(good))
        file.write_text("")
        assert 401 == await until(partial(status, good), lambda status: status == 401)


def test_a_door_to_the_network_needs_keys() -> None:
    with pytest.raises(InvalidInput, match="give API keys"):
        server.door("nats://127.0.0.1:4222", Subjects(), Gateway(host="0.0.0.0"))


async def test_a_page_that_resolves_to_this_machine_is_sent_away(door: Door) -> None:
    reply = await door.http.post("/v1/tasks", json={"text": "red"}, headers={"host": "rebound.example"})

    assert 421 == reply.status_code


async def test_pages_of_other_origins_may_not_ask_unless_they_are_named(nats: NatsServer) -> None:
    ask = {"origin": "https://app.example", "access-control-request-method": "POST"}
    named = Gateway(port=0, origins=("https://app.example",))
    async with gateway(nats.url) as shut, gateway(nats.url, named) as open_, httpx.AsyncClient() as http:
        replies = [await http.options(f"{address}/v1/tasks", headers=ask) for address in (shut, open_)]

    assert [None, "https://app.example"] == [one.headers.get("access-control-allow-origin") for one in replies]
