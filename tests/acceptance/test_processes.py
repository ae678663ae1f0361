"""Who starts the processes of a team of real models."""

from __future__ import annotations

from harness.local_team import LocalTeam
from metier.topics.client import Client


async def test_replicas_with_a_model_are_forks_of_the_server_that_imported_what_models_need(
    client: Client, trip_team: LocalTeam
) -> None:
    first = trip_team.part("metier.cluster.forkserver")
    servers = {
        name: replica.parent()
        for name in ("model-pointer", "model-slm", "router", "flights", "aggregator")
        if (replica := trip_team.replica(name))
    }

    assert servers["flights"] == servers["aggregator"] == first
    assert servers["model-pointer"] == servers["model-slm"] == servers["router"] != first
    assert servers["router"].parent() == first
