"""The door of a team in Kubernetes: there if the team file says so, and reachable by those who have a key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness.manifests import OPS, complaints_of_kubernetes, documents
from metier.cluster import cli, kubernetes, team
from metier.cluster.commands.session import TRIP
from metier.cluster.gateway.settings import Gateway
from metier.cluster.kubernetes import place
from metier.cluster.team import Team
from metier.topics.errors import InvalidTeam

PLACE = kubernetes.Place(image="metier:0.1.0", nats_url="nats://broker.bus:4333")


@pytest.fixture
def closed() -> Team:
    return team.read(TRIP)


@pytest.fixture
def opened(closed: Team) -> Team:
    """The trip team with two doors."""
    return msgspec.structs.replace(closed, gateway=Gateway(port=8081, replicas=2))


def named(of: Team, kind: str) -> dict[str, dict[str, Any]]:
    found = [document for document in kubernetes.documents(of, PLACE) if document["kind"] == kind]
    return {document["metadata"]["name"]: document["spec"] for document in found}


def template(of: Team) -> dict[str, Any]:
    found: dict[str, Any] = named(of, "Deployment")["trip-door"]["template"]
    return found


def container(of: Team) -> dict[str, Any]:
    found: dict[str, Any] = template(of)["spec"]["containers"][0]
    return found


def test_a_team_without_a_gateway_section_has_no_door(closed: Team) -> None:
    assert not [each for each in kubernetes.documents(closed, PLACE) if "door" in each["metadata"]["name"]]


def test_all_of_a_team_with_a_door_is_valid(opened: Team, tmp_path: Path) -> None:
    _, *others = kubernetes.documents(opened, PLACE)

    assert {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"} == {each["kind"] for each in others}
    assert "" == complaints_of_kubernetes(others, tmp_path)


def test_what_is_wrong_with_a_door_is_noticed(opened: Team, tmp_path: Path) -> None:
    _, deployment, service, *_ = kubernetes.documents(opened, PLACE)
    deployment["spec"]["template"]["spec"]["containers"][0]["readinessProb"] = {}
    service["spec"]["ports"][0]["targetPorts"] = 1

    assert "readinessProb" in complaints_of_kubernetes([deployment], tmp_path)
    assert "targetPorts" in complaints_of_kubernetes([service], tmp_path)


def test_ray_runs_what_it_runs_without_a_door(closed: Team, opened: Team) -> None:
    without, beside = (kubernetes.documents(of, PLACE)[0] for of in (closed, opened))

    assert without == beside


def test_its_name_leads_to_its_pods(opened: Team) -> None:
    service, deployment = named(opened, "Service")["trip-door"], named(opened, "Deployment")["trip-door"]
    labels = template(opened)["metadata"]["labels"]
    ports = {port["name"]: port["containerPort"] for port in container(opened)["ports"]}

    assert service["selector"].items() <= labels.items()
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    assert [("http", 80, 8081)] == [
        (port["name"], port["port"], ports[port["targetPort"]]) for port in service["ports"]
    ]


def test_a_pod_of_the_door_is_none_of_rays(opened: Team) -> None:
    assert place.TEAM not in template(opened)["metadata"]["labels"]


def test_its_command_is_one_of_metier(opened: Team) -> None:
    program, *arguments = container(opened)["command"]
    options = cli.parser().parse_args(arguments)

    assert "metier" == program
    assert (PLACE.nats_url, place.FILE, "0.0.0.0", 8081) == (options.nats, options.team, options.host, options.port)


def test_no_pod_of_it_starts_without_a_secret_of_keys(opened: Team) -> None:
    spec = template(opened)["spec"]
    (volume,) = spec["volumes"]
    (mount,) = container(opened)["volumeMounts"]
    keys = Path(cli.parser().parse_args(container(opened)["command"][1:]).keys)

    assert {"secretName": "trip-door"} == volume["secret"]
    assert (volume["name"], str(keys.parent)) == (mount["name"], mount["mountPath"])
    assert "subPath" not in mount, "or a changed Secret would not arrive"


def test_it_is_ready_when_the_bus_answers_and_lives_when_it_does_not(opened: Team) -> None:
    probes = {kind: container(opened)[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}

    assert {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"} == {
        kind: probe["path"] for kind, probe in probes.items()
    }
    assert {"http"} == {probe["port"] for probe in probes.values()}


def test_anybody_may_reach_its_port_and_nothing_else(opened: Team) -> None:
    policy = named(opened, "NetworkPolicy")["trip-door"]

    assert [{"ports": [{"protocol": "TCP", "port": 8081}]}] == policy["ingress"]
    assert policy["podSelector"]["matchLabels"].items() <= template(opened)["metadata"]["labels"].items()


def test_it_reaches_the_broker_the_collector_and_names_alone(opened: Team) -> None:
    rules = named(opened, "NetworkPolicy")["trip-door"]["egress"]

    assert [53, 53, 4333, 4318] == [port["port"] for rule in rules for port in rule["ports"]]
    assert [("to", "ports")] * 2 == [tuple(rule) for rule in rules if "to" in rule]


@pytest.mark.parametrize("what", ["broker", "collector"])
def test_broker_and_collector_let_it_in(opened: Team, closed: Team, what: str) -> None:
    def admits(of: Team) -> bool:
        labels = template(opened)["metadata"]["labels"].items()
        first, *_ = named(of, "NetworkPolicy")[f"trip-{what}"]["ingress"]
        return any(pods["podSelector"]["matchLabels"].items() <= labels for pods in first["from"])

    assert admits(opened)
    assert admits(closed) is (what == "broker"), "a publisher of any team may reach the broker"


def test_of_several_a_drain_takes_one_and_a_single_one_may_go(opened: Team) -> None:
    (budget,) = (spec for name, spec in named(opened, "PodDisruptionBudget").items() if name == "trip-door")
    one = msgspec.structs.replace(opened, gateway=Gateway())

    assert (1, {"metier/door": "trip"}) == (budget["maxUnavailable"], budget["selector"]["matchLabels"])
    assert (2, 1) == tuple(named(of, "Deployment")["trip-door"]["replicas"] for of in (opened, one))
    assert "trip-door" not in named(one, "PodDisruptionBudget")


def test_an_update_takes_no_door_before_another_is_open(opened: Team) -> None:
    strategy = named(opened, "Deployment")["trip-door"]["strategy"]

    assert {"maxUnavailable": 0, "maxSurge": 1} == strategy["rollingUpdate"]


def test_a_port_that_is_not_known_is_refused(closed: Team) -> None:
    with pytest.raises(InvalidTeam, match="any free one"):
        kubernetes.render(msgspec.structs.replace(closed, gateway=Gateway(port=0)), PLACE)


def test_the_readme_names_what_the_trip_team_has() -> None:
    readme = (OPS / "kubernetes/README.md").read_text()
    made = documents(OPS / "kubernetes/trip.yaml")
    there = {f"{each['kind'].lower()}/{each['metadata']['name']}" for each in made}
    asked = set(re.findall(r"\b((?:rayservice|deployment|service)/[a-z-]+)", readme))
    (pod,) = (each["spec"]["template"]["spec"] for each in made if each["kind"] == "Deployment")
    secret, file = set(re.findall(r"create secret generic (\S+) --from-file=([^=]+)=my-keys.txt", readme)).pop()

    assert {"rayservice/trip", "deployment/trip-door", "service/trip-door"} <= asked
    assert asked <= there
    assert [secret] == [volume["secret"]["secretName"] for volume in pod["volumes"]]
    assert f"/{file}" in pod["containers"][0]["command"][-1]


def test_the_ingress_is_valid_and_leads_to_the_door_of_the_trip_team(tmp_path: Path) -> None:
    (ingress,) = found = documents(OPS / "kubernetes/ingress.yaml")
    services = {
        each["metadata"]["name"]: [port["name"] for port in each["spec"]["ports"]]
        for each in documents(OPS / "kubernetes/trip.yaml")
        if each["kind"] == "Service"
    }
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]

    assert "" == complaints_of_kubernetes(found, tmp_path)
    assert path["backend"]["service"]["port"]["name"] in services[path["backend"]["service"]["name"]]
    assert [rule["host"]] == ingress["spec"]["tls"][0]["hosts"]
