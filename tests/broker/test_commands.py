"""The command line in processes of its own, against a real broker and a team that answers at once."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.house import FILE, SUBJECTS, House, open_house, stored
from harness.instant import InstantEngine
from harness.nats_server import NatsServer
from metier.cluster.sizing import Decision, decision_key
from metier.cluster.state import State, Up
from metier.topics import streams
from metier.topics.bus import Publication
from metier.topics.jetstream import connect

TEAM = f"""{FILE}\
escalation:
  large: {{model: m, stand_in: true, price_per_million_prompt_tokens: 2.5, price_per_million_output_tokens: 10}}
"""


async def start(directory: Path, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "metier.cluster.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "METIER_DIRECTORY": str(directory)},
        preexec_fn=_hears_ctrl_c,
    )


def _hears_ctrl_c() -> None:
    """What a shell starts in the background ignores SIGINT, and so would all below it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


async def run(directory: Path, *arguments: str) -> tuple[int | None, str, str]:
    process = await start(directory, *arguments)
    async with asyncio.timeout(20):
        out, error = await process.communicate()
    return process.returncode, out.decode(), error.decode()


class Metier:
    """A house that is up, and the command line on it."""

    def __init__(self, house: House, directory: Path) -> None:
        self.house = house
        self.directory = directory

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        return await run(self.directory, *arguments)

    async def json(self, *arguments: str) -> Any:
        status, out, error = await self.run(*arguments, "--json")
        assert 0 == status, error
        return msgspec.json.decode(out)


@contextmanager
def up(server: NatsServer, tmp_path: Path) -> Iterator[State]:
    """A state directory that says the house is up."""
    file = tmp_path / "team.yaml"
    file.write_text(TEAM)
    state = State(tmp_path / "state")
    with state.claim():
        state.write(
            Up(
                pid=os.getpid(),
                nats_url=server.url,
                nats_pid=0,
                team=str(file),
                root=SUBJECTS.root,
                started_at=dt.datetime.now(dt.UTC),
            )
        )
        yield state


@asynccontextmanager
async def metier(server: NatsServer, tmp_path: Path, **options: Any) -> AsyncIterator[Metier]:
    async with connect(server.url, name="house", subjects=SUBJECTS) as bus, open_house(bus, **options) as house:
        with up(server, tmp_path) as state:
            yield Metier(house, state.path)


@pytest.fixture
async def one(own_server: NatsServer, tmp_path: Path) -> AsyncIterator[Metier]:
    async with metier(own_server, tmp_path) as running:
        yield running


async def test_ask_shows_who_worked_then_the_answer_and_its_cost(one: Metier) -> None:
    status, out, error = await one.run("ask", "red green blue mixer")

    assert (0, "") == (status, error)
    assert "plan: red, green, blue; mixer after red, green, blue" in out
    assert re.search(r"red: ok in \d\.\d\d s: red did", out)
    assert "mixer did 'red green blue mixer' after blue, green, red" in out
    assert re.search(r"\$0\.0000 here · about \$0\.\d{4} for the same tokens .* \(priced as tier large\)", out)
    assert re.search(r"see how: metier trace [0-9a-f]{32}", out)


async def test_ask_as_json_is_exactly_one_object(one: Metier) -> None:
    answer = await one.json("ask", "red mixer")

    assert ("ok", ["red"]) == (answer["status"], answer["plan"]["nodes"][1]["needs"])
    assert {"red", "mixer"} == set(answer["results"])


async def test_ask_says_when_no_large_model_answered(one: Metier) -> None:
    answer = await one.json("ask", "what is Baroque?")

    assert ["No large model is configured: instant model, the small base model, answered in its place."] == answer[
        "notes"
    ]


async def test_an_empty_text_is_refused_before_anything_is_sent(one: Metier) -> None:
    status, _, error = await one.run("ask", " ")

    assert (2, "error: The text is empty: a task needs at least one word.\n") == (status, error)


async def test_trace_draws_the_task_from_the_client_to_the_answer(own_server: NatsServer, tmp_path: Path) -> None:
    async with metier(own_server, tmp_path) as one:
        asked = await one.json("ask", "red")
        status, out, _ = await one.run("trace", asked["task_id"])

    assert 0 == status
    assert out.startswith(f"trace {asked['trace_id']}")
    assert re.search(r"invoke_workflow +client +━+", out)


async def test_ctrl_c_ends_ask_quietly_and_cancels_the_task(own_server: NatsServer, tmp_path: Path) -> None:
    async with metier(own_server, tmp_path, red=InstantEngine({}, pause_s=30)) as one:
        process = await start(one.directory, "ask", "red")
        assert process.stdout is not None
        async with asyncio.timeout(10):
            while b"red: at work" not in await process.stdout.readline():
                pass
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(10):
                _, error = await process.communicate()
        except TimeoutError:
            process.kill()
            raise
        answers = await stored(one.house.bus, streams.ANSWERS, SUBJECTS.everything("answer"), 1)

    assert (130, b"") == (process.returncode, error)
    assert "cancelled" == answers[0]["status"]


async def waits(one: Metier, actor: str) -> int:
    return (await one.house.bus.lag(one.house.consumers[actor])).waiting


async def test_status_shows_every_actor_of_the_file_also_one_that_is_down(
    own_server: NatsServer, tmp_path: Path
) -> None:
    async with metier(own_server, tmp_path, asleep=("blue",)) as one:
        await one.house.client.ask("red")
        await one.house.client.submit("blue")
        async with asyncio.timeout(5):
            while not await waits(one, "blue"):  # noqa: ASYNC110 - a broker tells nobody what waits
                await asyncio.sleep(0.01)
        told = await one.json("status")
        _, out, _ = await one.run("status")

    actors = {actor["actor"]: actor for actor in told["actors"]}
    assert ["router", "red", "green", "blue", "mixer", "large", "aggregator"] == list(actors)
    assert (0, 1, "down") == (actors["blue"]["replicas"], actors["blue"]["waiting"], actors["blue"]["note"])
    assert (1, 1, "instant model") == (actors["red"]["replicas"], actors["red"]["handled"], actors["red"]["model"])
    assert "stand-in: no large model is configured" == actors["large"]["note"]
    assert "team house" in out


async def test_top_draws_the_team_and_why_it_was_scaled_until_ctrl_c(one: Metier) -> None:
    why = Decision(replicas=3, before=1, at=dt.datetime.now(dt.UTC), why="9 waiting")
    await one.house.bus.write(decision_key("red"), msgspec.json.encode(why), 0)
    team = one.directory.parent / "team.yaml"
    team.write_text(TEAM.replace("about: Red.,", "about: Red., replicas: {max: 4},"))
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "metier.cluster.cli", "top", "--every", "0.1"),
        stdout=theirs,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "METIER_DIRECTORY": str(one.directory), "TERM": "xterm", "COLUMNS": "160", "LINES": "40"},
        preexec_fn=_hears_ctrl_c,
    )
    os.close(theirs)
    drawn = b""
    async with asyncio.timeout(20):
        while b"1 \xe2\x86\x92 3: 9 waiting" not in drawn:
            drawn += await asyncio.to_thread(os.read, ours, 65_536)
    process.send_signal(signal.SIGINT)
    reading = asyncio.create_task(asyncio.to_thread(_drain, ours))
    async with asyncio.timeout(10):
        _, error = await process.communicate()
    await reading
    os.close(ours)

    assert (130, b"") == (process.returncode, error)
    assert b"team house" in drawn


def _drain(terminal: int) -> None:
    """Reads until the last process that holds the other end has gone."""
    with suppress(OSError):
        while os.read(terminal, 65_536):
            pass


async def test_top_is_refused_where_nobody_looks(one: Metier) -> None:
    status, _, error = await one.run("top")

    assert 2 == status
    assert "metier status --json" in error


async def test_a_dead_message_is_listed_shown_and_sent_again(one: Metier) -> None:
    subject = SUBJECTS.task("default", "interactive")
    await one.house.bus.publish(Publication(subject, b'{"type":"task/9","text":"red"}', {"From": "a hand"}))
    await stored(one.house.bus, streams.DEAD, SUBJECTS.everything("dead"), 1)

    listed = await one.json("dead")
    _, out, _ = await one.run("dead", "show", "1")
    again = await one.json("dead", "retry", "1")
    after = await stored(one.house.bus, streams.DEAD, SUBJECTS.everything("dead"), 1)  # it died again

    assert [(1, "router", "This task has version 9; this Metier reads version 1.")] == [
        (dead["number"], dead["actor"], dead["reason"]) for dead in listed
    ]
    assert '{"type":"task/9","text":"red"}' in out
    assert "From: a hand" in out
    assert {"number": 1, "subject": subject} == again
    assert (subject, listed[0]["reason"]) == (after[0]["subject"], after[0]["reason"])


async def test_a_dead_message_that_is_not_there_is_an_error(one: Metier) -> None:
    status, _, error = await one.run("dead", "show", "7")

    assert (1, "error: No dead message has number 7.\n") == (status, error)


async def test_a_broker_that_is_gone_is_one_line(own_server: NatsServer, tmp_path: Path) -> None:
    own_server.stop()
    with up(own_server, tmp_path) as state:
        status, _, error = await run(state.path, "status")

    assert 1 == status
    assert error.startswith("error: ")
    assert f"127.0.0.1:{own_server.port}" in error
    assert 1 == error.count("\n")
