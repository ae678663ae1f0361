"""The door of a team, as one more application of its Ray."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from harness.local_team import LocalTeam


def test_a_team_with_a_gateway_section_answers_over_http(elastic: LocalTeam, door_port: int) -> None:
    assert f"Page:  http://127.0.0.1:{door_port}" in elastic.said

    view = _post(f"http://127.0.0.1:{door_port}/v1/tasks?wait_s=20", {"text": "one"})

    assert ("ok", "one") == (view["status"], view["answer"]["text"])


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)
