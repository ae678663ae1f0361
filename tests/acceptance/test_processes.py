"""Who starts the processes of a team of real models."""

from __future__ import annotations

import psutil  # type: ignore[import-untyped]

from harness.local_team import LocalTeam
from metier.topics.client import Client


async def test_replicas_with_a_model_are_forks_of_the_server_that_imported_what_models_need(
    client: Client, trip_team: LocalTeam
) -> None:
    first = trip_team.part("metier.cluster.forkserver")

    def parent(name: str) -> psutil.Process | None:
        replica = trip_team.replica(name)
        return replica.parent() if replica else None

    second = parent("router")
    assert second is not None
    assert first == second.parent()
    assert second == parent("model-pointer") == parent("model-slm")
    assert first == parent("flights") == parent("aggregator")
