"""The broker that a local team starts for itself."""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from metier.cluster import server


async def environment(directory: Path) -> dict[str, str]:
    """What the server was started with."""
    logs = directory / "logs"
    logs.mkdir()
    async with server.nats_server(directory / "nats", logs, 0) as running:
        told: dict[str, str] = psutil.Process(running.pid).environ()
    return told


@pytest.mark.parametrize(("cores", "taken"), [(1, "1"), (2, "1"), (8, "4")])
async def test_it_takes_half_of_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, taken: str
) -> None:
    monkeypatch.delenv("GOMAXPROCS", raising=False)
    monkeypatch.setattr(server, "cores", lambda: cores)
    assert taken == (await environment(tmp_path))["GOMAXPROCS"]


async def test_it_takes_as_many_as_somebody_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMAXPROCS", "3")
    assert "3" == (await environment(tmp_path))["GOMAXPROCS"]
