"""A team as Kubernetes objects: valid, as the team file says, and as it is checked in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from harness import ray_reader
from harness.manifests import ROOT, complaints_of_kuberay, complaints_of_kubernetes
from metier.cluster import build, cli, kubernetes, team
from metier.cluster.commands.session import TRIP
from metier.cluster.kubernetes import place
from metier.cluster.node import ENVIRONMENT
from metier.cluster.placement import Group, groups
from metier.cluster.team import Mcp, Model, Replicas, Resources, Team
from metier.topics.errors import InvalidTeam

PLACE = kubernetes.Place(image="metier:0.1.0")


@pytest.fixture
def trip() -> Team:
    return team.read(TRIP)


@pytest.fixture
def placed(trip: Team) -> Team:
    """The trip team on nodes of three kinds, with a hosted model and a tool behind a URL."""
    specialists = dict(trip.specialists)
    specialists["flights"] = msgspec.structs.replace(
        specialists["flights"], resources=Resources(cpus=0.5), replicas=Replicas(min=1, max=5)
    )
    specialists["hotels"] = msgspec.structs.replace(
        specialists["hotels"],
        resources=Resources(custom={"Paris": 1}),
        mcp=(Mcp(url="http://rooms.example.com:8080/mcp"),),
    )
    models = dict(trip.models)
    models["slm"] = msgspec.structs.replace(
        models["slm"], resources=Resources(cpus=2, gpus=0.25), replicas=Replicas(min=0, max=6)
    )
    models["big"] = Model(
        engine="openai", options={"base_url": "https://api.example.com/v1", "api_key_env": "EXAMPLE_KEY"}
    )
    return msgspec.structs.replace(trip, specialists=specialists, models=models)


def service(of: Team) -> dict[str, Any]:
    return kubernetes.documents(of, PLACE)[0]


def named(of: Team, kind: str) -> dict[str, dict[str, Any]]:
    found = [document for document in kubernetes.documents(of, PLACE) if document["kind"] == kind]
    return {document["metadata"]["name"]: document["spec"] for document in found}


def workers(of: Team) -> dict[str, dict[str, Any]]:
    return {group["groupName"]: group for group in service(of)["spec"]["rayClusterConfig"]["workerGroupSpecs"]}


def test_what_is_checked_in_is_what_the_team_of_the_readme_renders(tmp_path: Path) -> None:
    """Its first step appends to a copy of the trip team's file."""
    readme = (ROOT / "ops/kubernetes/README.md").read_text()
    (appended,) = re.findall(r"^    printf '(.+)' >> my-team/team.yaml$", readme, re.MULTILINE)
    file = tmp_path / "team.yaml"
    file.write_text(TRIP.read_text() + appended.replace("\\n", "\n"))

    assert (ROOT / "ops/kubernetes/trip.yaml").read_text() == kubernetes.render(team.read(file), PLACE)


def test_what_is_rendered_are_the_documents(placed: Team) -> None:
    assert kubernetes.documents(placed, PLACE) == list(yaml.safe_load_all(kubernetes.render(placed, PLACE)))


@pytest.mark.parametrize("which", ["trip", "placed"])
def test_every_document_is_valid(which: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ray_service, *others = kubernetes.documents(request.getfixturevalue(which), PLACE)

    assert [] == complaints_of_kuberay(ray_service, tmp_path)
    assert "" == complaints_of_kubernetes(others, tmp_path)


def test_what_is_not_valid_is_noticed(trip: Team, tmp_path: Path) -> None:
    ray_service, budget, *_ = kubernetes.documents(trip, PLACE)
    ray_service["spec"]["rayClusterConfig"]["workerGroups"] = []
    ray_service["spec"]["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["container"] = []
    budget["spec"]["minAvailble"] = 1

    unknown, pods = complaints_of_kuberay(ray_service, tmp_path)
    assert "'workerGroups' was unexpected" in unknown
    assert "'container' was unexpected" in pods
    assert "'minAvailble' was unexpected" in complaints_of_kubernetes([budget], tmp_path)


def test_ray_reads_what_runs_and_what_each_group_offers(placed: Team) -> None:
    reading = ray_reader.read(service(placed))

    assert {"model-pointer", "model-slm", *build.actors(placed)} == set(reading.applications)
    assert {place.FILE} == {each["team"] for each in reading.applications.values()}
    gib = 1024**3
    assert {
        "headgroup": (0, 0, {"CPU": 0, "memory": 4 * gib}),
        "cpu-0-5": (1, 3, {"CPU": 1, "memory": 2 * gib}),
        "cpu-2-gpu-0-25": (0, 2, {"CPU": 8, "GPU": 1, "memory": 11 * gib}),
        "paris-1": (1, 1, {"CPU": 1, "Paris": 1, "memory": 2 * gib}),
        "shared": (2, 2, {"CPU": 2, "memory": 5 * gib}),
    } == reading.nodes


def test_only_a_team_that_can_grow_has_an_autoscaler(trip: Team, placed: Team) -> None:
    assert [False, True] == [
        service(of)["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"] for of in (trip, placed)
    ]
    assert "trip-autoscaler" not in named(trip, "NetworkPolicy")
    assert {"metier/team": "trip", "metier/group": "head"} == named(placed, "NetworkPolicy")["trip-autoscaler"][
        "podSelector"
    ]["matchLabels"]


def test_a_custom_resource_is_a_label_of_nodes(placed: Team) -> None:
    assert {"metier/Paris": "true"} == workers(placed)["paris-1"]["template"]["spec"]["nodeSelector"]


def test_a_gpu_is_asked_of_kubernetes_too(placed: Team) -> None:
    spec = workers(placed)["cpu-2-gpu-0-25"]["template"]["spec"]

    assert 1 == spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert ["nvidia.com/gpu"] == [toleration["key"] for toleration in spec["tolerations"]]


@pytest.mark.parametrize(
    ("share", "most", "pods", "each"), [(0.25, 8, 2, 1), (0.5, 3, 2, 1), (0.7, 2, 2, 1), (1, 3, 3, 1), (2, 1, 1, 2)]
)
def test_a_specialists_share_of_a_gpu_is_what_serve_gives_it_and_what_its_pods_have(
    trip: Team, share: float, most: int, pods: int, each: int
) -> None:
    flights = msgspec.structs.replace(
        trip.specialists["flights"], resources=Resources(gpus=share), replicas=Replicas(min=0, max=most)
    )
    of = msgspec.structs.replace(trip, specialists={**trip.specialists, "flights": flights})
    (group,) = (group for name, group in workers(of).items() if name.startswith("gpu"))
    (container,) = group["template"]["spec"]["containers"]
    served = yaml.safe_load(service(of)["spec"]["serveConfigV2"])["applications"]
    (options,) = (one["deployments"][0]["ray_actor_options"] for one in served if one["name"] == "flights")

    assert (share, 0, pods) == (options["num_gpus"], group["minReplicas"], group["maxReplicas"])
    assert {each} == {container["resources"][kind]["nvidia.com/gpu"] for kind in ("limits", "requests")}
    assert str(each) == group["rayStartParams"]["num-gpus"]


def test_no_other_group_has_a_gpu(placed: Team) -> None:
    shared = workers(placed)["shared"]

    assert "nvidia.com/gpu" not in shared["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert "num-gpus" not in shared["rayStartParams"]


def test_ray_is_told_what_metier_up_tells_it(trip: Team) -> None:
    cluster = service(trip)["spec"]["rayClusterConfig"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]

    for pod in pods:
        env = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        assert ENVIRONMENT == {name: env.get(name) for name in ENVIRONMENT}


def test_a_group_of_several_pods_gives_up_one_at_a_time(placed: Team) -> None:
    (budget,) = named(placed, "PodDisruptionBudget").values()

    assert workers(placed)["shared"]["template"]["metadata"]["labels"] == budget["selector"]["matchLabels"]
    assert workers(placed)["shared"]["minReplicas"] - 1 == budget["minAvailable"]


def test_the_team_may_call_what_its_file_names_and_nothing_else(trip: Team, placed: Team) -> None:
    def anywhere(of: Team) -> list[int]:
        rules = named(of, "NetworkPolicy")["trip-team"]["egress"]
        return [port["port"] for rule in rules if "to" not in rule for port in rule["ports"]]

    assert [53, 53] == anywhere(trip)
    assert [53, 53, 443, 8080] == anywhere(placed)


def test_api_keys_come_from_a_secret(placed: Team) -> None:
    env = workers(placed)["shared"]["template"]["spec"]["containers"][0]["env"]

    assert {"name": "EXAMPLE_KEY", "valueFrom": {"secretKeyRef": {"name": "trip-keys", "key": "EXAMPLE_KEY"}}} in env


@pytest.mark.parametrize(
    ("resources", "room"),
    [
        (Resources(), 8),
        (Resources(cpus=1), 1),
        (Resources(cpus=4), 1),
        (Resources(cpus=0.1), 10),
        (Resources(cpus=2, gpus=0.5), 2),
        (Resources(gpus=2), 1),
        (Resources(custom={"disk": 0.25, "edge": 0.5}), 2),
    ],
)
def test_a_node_has_room_for_those_that_share_a_gpu_else_a_processor(
    trip: Team, resources: Resources, room: int
) -> None:
    guide = msgspec.structs.replace(trip.specialists["guide"], resources=resources)
    found = groups(msgspec.structs.replace(trip, specialists={**trip.specialists, "guide": guide}))

    assert [room] == [group.room for group in found if group.resources == resources]


def test_nodes_follow_the_bounds_of_all_that_share_them(trip: Team) -> None:
    one = Resources(cpus=0.5)
    sized = {
        name: msgspec.structs.replace(trip.specialists[name], resources=one, replicas=Replicas(min=low, max=high))
        for name, low, high in (("flights", 0, 3), ("hotels", 1, 4), ("guide", 2, 2))
    }
    found = groups(msgspec.structs.replace(trip, specialists={**trip.specialists, **sized}))

    assert Group(name="cpu-0-5", resources=one, room=2, min=2, max=5) == found[0]


@pytest.mark.parametrize(("name", "expected"), [("trip", "trip"), ("My_Team-2", "my-team-2"), ("a" * 40, "a" * 40)])
def test_a_team_has_its_name_in_kubernetes(trip: Team, name: str, expected: str) -> None:
    assert expected == service(msgspec.structs.replace(trip, name=name))["metadata"]["name"]


@pytest.mark.parametrize("name", ["7up", "--", "a" * 41])
def test_a_name_that_kubernetes_cannot_have_is_refused(trip: Team, name: str) -> None:
    with pytest.raises(InvalidTeam, match="begin with a letter"):
        kubernetes.render(msgspec.structs.replace(trip, name=name), PLACE)


def test_the_command_writes_them(tmp_path: Path, trip: Team) -> None:
    out = tmp_path / "team.yaml"

    assert 0 == cli.run(["build", "--kubernetes", "--image", "here/it:1", "--nats", "nats://b:1", "--out", str(out)])
    assert kubernetes.render(trip, kubernetes.Place(image="here/it:1", nats_url="nats://b:1")) == out.read_text()


@pytest.mark.parametrize("options", [["--kubernetes", "--directory", "/state"], ["--image", "here/it:1"]])
def test_options_that_would_do_nothing_are_refused(options: list[str]) -> None:
    assert 2 == cli.run(["build", *options])
