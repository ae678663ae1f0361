"""The door's container in Kubernetes: its command, run here, does what its probes and its Secret promise."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import msgspec
import pytest

from harness.gateway import status_is, team, until
from harness.house import SUBJECTS, open_house
from harness.nats_server import NatsServer, free_port
from metier.cluster import kubernetes
from metier.cluster.gateway import keys
from metier.cluster.gateway.settings import Gateway
from metier.cluster.kubernetes import place
from metier.cluster.kubernetes.door import KEYS, KEYS_FILE
from metier.topics import jetstream


class Pod:
    """The one container, with the folder that stands for the mounted Secret."""

    def __init__(self, nats: NatsServer, folder: Path) -> None:
        opened = msgspec.structs.replace(team(folder), gateway=Gateway(port=free_port()))
        where = kubernetes.Place(image="metier:0.1.0", nats_url=nats.url)
        (deployment,) = (
            each for each in kubernetes.documents(opened, where) if ("Deployment", "house-door") == _named(each)
        )
        (self.container,) = deployment["spec"]["template"]["spec"]["containers"]
        self.secret = folder / "secret"
        self.secret.mkdir()
        (port,) = self.container["ports"]
        self.address = f"http://127.0.0.1:{port['containerPort']}"
        program, *arguments = self.container["command"]
        stands_for = {place.FILE: str(folder / "team.yaml"), f"{KEYS}/{KEYS_FILE}": str(self.secret / KEYS_FILE)}
        self.command = [Path(sys.executable).parent / program, *(stands_for.get(each, each) for each in arguments)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client of it; the process has passed its startup probe."""
        process = await asyncio.create_subprocess_exec(*self.command)
        try:
            async with httpx.AsyncClient(base_url=self.address, timeout=10) as http:
                await until(partial(self.probe, http, "startup"), bool)
                yield http
        finally:
            process.send_signal(signal.SIGTERM)
            assert 0 == await process.wait()

    async def probe(self, http: httpx.AsyncClient, kind: str) -> bool:
        """As the kubelet asks: 200 to 399 is yes, everything else is no."""
        try:
            reply = await http.get(self.container[f"{kind}Probe"]["httpGet"]["path"])
        except httpx.TransportError:
            return False
        return 200 <= reply.status_code < 400


def _named(document: dict[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


@pytest.fixture
def pod(nats: NatsServer, tmp_path: Path) -> Pod:
    return Pod(nats, tmp_path)


async def test_it_answers_who_has_a_key_and_takes_one_that_is_added_later(nats: NatsServer, pod: Pod) -> None:
    (first, line), (second, added) = keys.new("acme"), keys.new("other")
    (pod.secret / KEYS_FILE).write_text(f"{line}\n")

    async def asked(http: httpx.AsyncClient, key: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}", "Host": "trip.example.com"}
        return await http.post("/v1/tasks?wait_s=5", json={"text": "red"}, headers=headers)

    async with (
        jetstream.connect(nats.url, name="house", subjects=SUBJECTS) as bus,
        open_house(bus),
        pod.running() as http,
    ):
        await until(partial(pod.probe, http, "readiness"), bool)

        assert [200, 401] == [(await asked(http, key)).status_code for key in (first, second)]
        (pod.secret / KEYS_FILE).write_text(f"{line}\n{added}\n")
        await until(partial(asked, http, second), status_is(200))


async def test_while_the_bus_is_away_it_lives_and_is_not_ready(nats: NatsServer, pod: Pod) -> None:
    (pod.secret / KEYS_FILE).write_text(keys.new("acme")[1])
    nats.stop()

    async with pod.running() as http:
        assert (True, False) == (await pod.probe(http, "liveness"), await pod.probe(http, "readiness"))


async def test_without_keys_it_does_not_start(pod: Pod) -> None:
    process = await asyncio.create_subprocess_exec(*pod.command, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()

    assert 0 != process.returncode
    assert KEYS_FILE in said.decode()
