"""What the HTTP door shows to somebody who watches, on a real broker."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.gateway import Door, open_door
from harness.house import NEEDS, SUBJECTS, stored
from harness.instant import InstantEngine
from harness.nats_server import NatsServer
from metier.cluster.gateway import keys
from metier.cluster.gateway.settings import Gateway
from metier.cluster.sizing import Decision, decision_key
from metier.cluster.team import Team, read
from metier.cluster.watch.feed import Feed
from metier.topics import streams
from metier.topics.bus import Publication
from metier.topics.errors import BusUnavailable, MetierError

TEAM = """
name: house
models: {m: {engine: "nowhere:Engine"}}
router: {model: m, heads: none}
specialists:
  red: {about: Red., model: m, tools: ["nowhere:red"], replicas: {min: 0, max: 4}}
  green: {about: Green., model: m, tools: ["nowhere:green"]}
  blue: {about: Blue., model: m, tools: ["nowhere:blue"]}
  mixer: {about: All., model: m, tools: ["nowhere:mixer"], needs: [red, green, blue]}
  nobody: {about: Never started., model: m, tools: ["nowhere:nobody"]}
escalation:
  large: {model: m, stand_in: true, price_per_million_prompt_tokens: 2.5, price_per_million_output_tokens: 10}
"""
UNREADABLE = b'{"type":"task/9","text":"secret words"}'


@pytest.fixture
def team(tmp_path: Path) -> Team:
    file = tmp_path / "team.yaml"
    file.write_text(TEAM)
    return read(file)


@pytest.fixture
async def door(own_server: NatsServer, team: Team) -> AsyncIterator[Door]:
    async with open_door(own_server, team=team) as running:
        yield running


async def first(door: Door, path: str) -> dict[str, Any]:
    """What a stream says first."""
    async with door.http.stream("GET", path) as reply:
        async for line in reply.aiter_lines():
            if line.startswith("data: "):
                found: dict[str, Any] = msgspec.json.decode(line.removeprefix("data: "))
                return found
    raise AssertionError(f"{path} said nothing")


async def bury(door: Door) -> None:
    await door.house.bus.publish(Publication(SUBJECTS.task("acme", "interactive"), UNREADABLE))
    await stored(door.house.bus, streams.DEAD, SUBJECTS.everything("dead"), 1)


# ── The team ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_team_is_shown_with_bounds_scaling_and_cost(door: Door) -> None:
    why = Decision(replicas=2, before=1, at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), why="9 waiting")
    await door.house.bus.write(decision_key("red"), msgspec.json.encode(why), 0)
    await door.ask("red")
    await stored(door.house.bus, streams.USAGE, SUBJECTS.usage("red"), 1)

    shown = (await door.http.get("/v1/team")).json()
    actors = {actor["actor"]: actor for actor in shown["actors"]}

    assert ["router", *NEEDS, "nobody", "large", "aggregator"] == [actor["actor"] for actor in shown["actors"]]
    assert (0, 4, "9 waiting") == (actors["red"]["least"], actors["red"]["most"], actors["red"]["scaled"]["why"])
    assert {"runs": 1, "prompt_tokens": 8, "output_tokens": 4, "large_model_usd": pytest.approx(6e-5)} == {
        name: actors["red"]["spent"][name] for name in ("runs", "prompt_tokens", "output_tokens", "large_model_usd")
    }
    assert (0, "down", None) == tuple(actors["nobody"][name] for name in ("replicas", "note", "spent"))


async def test_the_team_is_streamed(door: Door) -> None:
    assert "house" == (await first(door, "/v1/team/events"))["team"]


async def test_without_a_team_file_the_actors_that_every_team_has_are_shown(own_server: NatsServer) -> None:
    async with open_door(own_server) as door:
        shown = (await door.http.get("/v1/team")).json()

    assert ["router", "aggregator"] == [actor["actor"] for actor in shown["actors"]]


async def test_one_source_serves_all_who_watch_and_rests_when_they_have_left() -> None:
    made = 0

    async def make() -> bytes:
        nonlocal made
        made += 1
        return str(made).encode()

    feed = Feed(make, 0.01)
    async with aclosing(feed.watch()) as one, aclosing(feed.watch()) as other:
        seen = [(await anext(one), await anext(other)) for _ in range(3)]
    resting = made
    await asyncio.sleep(0)

    assert all(abs(int(a) - int(b)) <= 1 for a, b in seen if isinstance(a, bytes) and isinstance(b, bytes))
    assert (True, resting) == (feed.idle, made)


async def test_a_source_that_fails_says_so_and_is_tried_again() -> None:
    answers: list[bytes | MetierError] = [BusUnavailable(url="nats://x", reason="gone"), b"back"]

    async def make() -> bytes:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, MetierError):
            raise answer
        return answer

    async with aclosing(Feed(make, 0.01).watch()) as watching:
        failed = await anext(watching)
        back = await anext(watching)

    assert isinstance(failed, BusUnavailable)
    assert b"back" == back


# ── Tasks ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_tasks_are_told_as_they_go_on_whoever_asked_them(own_server: NatsServer) -> None:
    async with (
        open_door(own_server, red=InstantEngine({}, pause_s=0.6)) as door,
        door.http.stream("GET", "/v1/activity/events") as reply,
    ):
        said = [msgspec.json.decode(line[6:]) async for line in _until_ended(reply.aiter_lines(), door)]

    tasks = [moment["tasks"][0] for moment in said if moment["tasks"]]
    assert ["red"] in [task.get("working") for task in tasks]
    assert ("red it", "ok", 1, 1) == tuple(tasks[-1][name] for name in ("text", "status", "nodes", "done"))
    assert (0, 1) == (said[-1]["running"], said[-1]["ended"])


async def _until_ended(lines: AsyncIterator[str], door: Door) -> AsyncIterator[str]:
    asked = False
    async for line in lines:
        if line.startswith("data: "):
            yield line
            if not asked:
                asked = bool(await door.house.client.submit("red it"))
            if '"ended":1' in line:
                return


async def test_a_trace_is_shown_to_its_own_tenant_alone(own_server: NatsServer, team: Team, tmp_path: Path) -> None:
    async with two_tenants(own_server, team, tmp_path) as (door, acme, other):
        reply = await door.http.post("/v1/tasks?wait_s=5", json={"text": "red"}, headers=acme)
        path = f"/v1/tasks/{reply.json()['task_id']}/trace"

        own, others = [await door.http.get(path, headers=key) for key in (acme, other)]

    assert (404, "no-trace") == (own.status_code, _kind(own))  # this gateway keeps no spans
    assert (404, "unknown-task") == (others.status_code, _kind(others))


# ── Dead messages ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dead_message_is_listed_and_sent_again(door: Door) -> None:
    await bury(door)

    listed = (await door.http.get("/v1/dead")).json()
    again = await door.http.post("/v1/dead/1/retry", json={})

    assert (1, UNREADABLE.decode()) == (listed["count"], listed["dead"][0]["payload"])
    assert {"number": 1, "subject": SUBJECTS.task("acme", "interactive")} == again.json()


@pytest.mark.parametrize("number", ["7", "0", "-1", "x", "9" * 30])
async def test_a_dead_message_that_is_not_there_is_404(door: Door, number: str) -> None:
    reply = await door.http.post(f"/v1/dead/{number}/retry", json={})

    assert (404, "unknown-dead") == (reply.status_code, _kind(reply))


async def test_a_form_on_another_page_sends_nothing_again(door: Door) -> None:
    await bury(door)
    reply = await door.http.post("/v1/dead/1/retry", data={"a": "b"})

    assert 415 == reply.status_code
    assert 1 == await door.house.bus.messages(SUBJECTS.stream(streams.DEAD))


async def test_dead_messages_are_for_the_operator_where_there_are_keys(
    own_server: NatsServer, team: Team, tmp_path: Path
) -> None:
    async with two_tenants(own_server, team, tmp_path) as (door, acme, other):
        await bury(door)
        allowed, refused = [await door.http.get("/v1/dead", headers=key) for key in (acme, other)]
        again = await door.http.post("/v1/dead/1/retry", json={}, headers=other)

    assert (200, 403, 403) == (allowed.status_code, refused.status_code, again.status_code)
    assert "secret" not in refused.text


# ── The page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_page_needs_nothing_from_elsewhere(door: Door) -> None:
    page, script = await door.http.get("/"), await door.http.get("/page/app.js")

    assert (200, 200) == (page.status_code, script.status_code)
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "https://" not in page.text
    assert "javascript" in script.headers["content-type"]


def _kind(reply: Any) -> str:
    return str(reply.json()["type"]).rpartition(":")[2]


@asynccontextmanager
async def two_tenants(
    server: NatsServer, team: Team, directory: Path
) -> AsyncIterator[tuple[Door, dict[str, str], dict[str, str]]]:
    """A door with keys of an operator's tenant, acme, and of another."""
    (acme, acme_line), (other, other_line) = keys.new("acme"), keys.new("other")
    file = directory / "keys"
    file.write_text(f"{acme_line}\n{other_line}\n")
    async with open_door(server, Gateway(port=0, keys=str(file), operator="acme"), team) as door:
        yield door, {"Authorization": f"Bearer {acme}"}, {"Authorization": f"Bearer {other}"}
