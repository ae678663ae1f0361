"""The door as Serve runs it, without Serve: started, changed, watched and ended by the same calls."""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

import httpx2 as httpx
import msgspec
import pytest

from harness.gateway import status_is, team, until
from harness.house import SUBJECTS
from harness.nats_server import NatsServer
from metier.cluster.gateway.replica import Entrance
from metier.cluster.gateway.settings import Gateway
from metier.cluster.replica import Settings
from metier.topics import jetstream, streams
from metier.topics.errors import InvalidInput

#: Serve calls it and ends the process; here it is called once more when the object is forgotten.
pytestmark = [
    pytest.mark.filterwarnings("ignore:coroutine 'Entrance.__del__' was never awaited"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def section(**values: object) -> dict[str, object]:
    found: dict[str, object] = msgspec.to_builtins(Gateway(**values))  # type: ignore[arg-type]
    return found


async def test_a_replica_listens_changes_and_goes_while_another_takes_its_port(
    nats: NatsServer, tmp_path: Path
) -> None:
    settings, port = Settings(nats_url=nats.url), free_port()
    first, second = Entrance(team(tmp_path), settings), Entrance(team(tmp_path), settings)
    async with (
        jetstream.connect(nats.url, name="test", subjects=SUBJECTS) as bus,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
    ):
        await bus.ensure(streams.streams(SUBJECTS))
        await first.reconfigure(section(port=port))
        await until(partial(http.get, "/readyz"), status_is(200))
        await first.reconfigure(section(port=port, origins=["https://app.example"]))
        await until(partial(http.get, "/readyz"), status_is(200))
        allowed = await http.get("/healthz", headers={"origin": "https://app.example"})
        await second.reconfigure(section(port=port))
        await first.__del__()
        await second.check_health()
        await until(partial(http.get, "/readyz"), status_is(200))
        await second.__del__()

    assert "https://app.example" == allowed.headers["access-control-allow-origin"]


async def test_a_replica_that_may_not_listen_says_why(nats: NatsServer, tmp_path: Path) -> None:
    entrance = Entrance(team(tmp_path), Settings(nats_url=nats.url))

    with pytest.raises(InvalidInput, match="give API keys"):
        await entrance.reconfigure(section(host="0.0.0.0", port=0))
    await entrance.__del__()
