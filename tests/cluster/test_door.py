"""The door of a team, as one more application of its Ray."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import psutil  # type: ignore[import-untyped]

from harness.local_team import LocalTeam


def test_a_team_with_a_gateway_section_answers_over_http(elastic: LocalTeam, door_port: int) -> None:
    assert f"Page:  http://127.0.0.1:{door_port}" in elastic.said

    view = _post(f"http://127.0.0.1:{door_port}/v1/tasks?wait_s=20", {"text": "one"})

    assert ("ok", "one") == (view["status"], view["answer"]["text"])


def test_its_replicas_share_the_port(elastic: LocalTeam, door_port: int) -> None:
    listening = {
        process.pid
        for process in psutil.process_iter()
        for connection in _listening(process)
        if connection.laddr.port == door_port
    }

    assert 2 == len(listening)


def _listening(process: psutil.Process) -> list[Any]:
    try:
        return [each for each in process.net_connections("tcp4") if each.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return []  # ended meanwhile, or of another user


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)
