"""What Serve is told of a team, and what a change of the team file makes Serve do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from metier.cluster import deploy
from metier.cluster.cli import run
from metier.cluster.gateway.settings import Gateway
from metier.cluster.replica import Settings
from metier.cluster.team import DOOR, Team, read
from metier.topics.errors import InvalidTeam

# Ray is imported inside the tests: its modules warn when they are loaded.
pytestmark = pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")

URL = "nats://broker:4222"
OFFICE = """\
name: office
models:
  small: {engine: "office:Small"}
  own: {engine: "office:Small", placement: inside}
  words: {engine: "office:Words", placement: inside}
router: {model: words}
specialists:
  stock: {about: Counts., model: small, tools: ["office:count"], resources: {gpus: 0.25, custom: {cellar: 1}}}
  papers: {about: Finds., model: own, tools: ["office:find"], replicas: {min: 0, max: 4}}
escalation:
  large: {model: small}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "team.yaml"
    path.write_text(OFFICE)
    return path


@pytest.fixture
def change(file: Path) -> Callable[[str, str], Team]:
    """The team with one text of its file replaced by another, there too."""

    def changed(old: str, new: str) -> Team:
        assert old in OFFICE
        file.write_text(OFFICE.replace(old, new))
        return read(file)

    return changed


def applications(team: Team) -> dict[str, Any]:
    """What Serve reads, by the name of the application."""
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(deploy.serve_config(team, "/team/team.yaml", URL))
    return {application.name: application for application in config.applications}


def replaced(before: Team, after: Team) -> set[str]:
    """The applications whose replicas Serve replaces: its own rule for code, and what it calls actor options."""
    from ray.serve._private.deploy_utils import get_app_code_version

    old, new = applications(before), applications(after)
    return {
        name
        for name in old.keys() & new.keys()
        if get_app_code_version(old[name]) != get_app_code_version(new[name])
        or old[name].deployments[0].ray_actor_options != new[name].deployments[0].ray_actor_options
    }


def told(team: Team, name: str) -> dict[str, Any]:
    (deployment,) = applications(team)[name].deployments
    options: dict[str, Any] = deployment.model_dump(exclude_unset=True)
    return options


def test_each_actor_and_each_shared_model_is_an_application_of_one_deployment(file: Path) -> None:
    found = applications(read(file))

    assert ["model-small", "router", "stock", "papers", "large", "aggregator"] == list(found)
    assert [[name] for name in found] == [[d.name for d in application.deployments] for application in found.values()]


def test_a_specialist_takes_of_a_node_what_the_file_says(file: Path) -> None:
    options = told(read(file), "stock")["ray_actor_options"]

    assert (0.0, 0.25, {"cellar": 1.0}) == (options["num_cpus"], options["num_gpus"], options["resources"])


def test_another_number_of_doors_is_no_change_for_those_that_stay(file: Path) -> None:
    one, two = (
        msgspec.structs.replace(read(file), gateway=Gateway(port=8081, replicas=replicas)) for replicas in (1, 2)
    )
    before, after = (told(of, DOOR) for of in (one, two))

    assert (1, 2) == (before.pop("num_replicas"), after.pop("num_replicas"))
    assert before == after
    assert set() == replaced(one, two)


def test_the_shipped_team_is_what_serve_accepts() -> None:
    trip = Path(deploy.__file__).parent / "teams" / "trip" / "team.yaml"

    assert len(applications(read(trip))) > len(read(trip).specialists)


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("about: Counts.,", "about: Counts., confidence: 0.7,", ("user_config", "confidence", 0.7)),
        ("about: Counts.,", "about: Counts., adapter: a,", ("user_config", "adapter", "a")),
        ("about: Counts.,", "about: Counts., replicas: {max: 3},", ("autoscaling_config", "max_replicas", 3)),
    ],
)
def test_a_threshold_an_adapter_and_a_bound_change_in_place(
    file: Path, change: Callable[[str, str], Team], old: str, new: str, seen: tuple[str, str, object]
) -> None:
    file.write_text(OFFICE.replace('"office:Small"}', '"office:Small", adapters: {a: ./a}}', 1))
    before = read(file)
    file.write_text(file.read_text().replace(old, new))
    after = read(file)
    where, key, value = seen

    assert set() == replaced(before, after)
    assert value == told(after, "stock")[where][key]
    same = set(applications(before)) - {"stock"}
    assert [told(before, name) for name in same] == [told(after, name) for name in same]


@pytest.mark.parametrize(
    ("expected", "old", "new"),
    [
        ({"stock"}, "cellar: 1", "cellar: 2"),
        ({"stock"}, "about: Counts.,", "about: Counts., concurrency: 4,"),
        ({"model-small"}, 'small: {engine: "office:Small"}', 'small: {engine: "office:Small", options: {seed: 1}}'),
        ({"papers"}, 'own: {engine: "office:Small"', 'own: {engine: "office:Small", options: {seed: 1}'),
        ({"router", "aggregator"}, "about: Finds.,", "about: Finds., needs: [stock],"),
        ({"stock", "papers"}, "escalation:", "providers: {clock: {use: 'office:Clock'}}\nescalation:"),
    ],
)
def test_what_an_actor_cannot_change_in_place_replaces_it_and_those_who_depend_on_it(
    file: Path, change: Callable[[str, str], Team], expected: set[str], old: str, new: str
) -> None:
    assert expected == replaced(read(file), change(old, new))


def test_a_broker_elsewhere_replaces_all(file: Path) -> None:
    here, there = (deploy.serve_config(read(file), file, url)["applications"] for url in (URL, "nats://other:4222"))

    assert all(old["args"] != new["args"] for old, new in zip(here, there, strict=True))


def test_the_builder_makes_what_metier_up_gives_to_serve(file: Path) -> None:
    from metier.cluster import app

    team = read(file)
    given = dict(app.applications(team, Settings(nats_url=URL)))

    for entry in deploy.serve_config(team, file, URL)["applications"]:
        built = app.application(entry["args"])._bound_deployment
        same = given[entry["name"]]._bound_deployment
        apart = {"max_constructor_retry_count"}  # here, nobody waits for a node that was lost
        assert same._deployment_config.model_dump(exclude=apart) == built._deployment_config.model_dump(exclude=apart)
        assert (same.init_args, same.ray_actor_options) == (built.init_args, built.ray_actor_options)


def test_a_node_with_another_team_file_refuses_to_build_from_it(file: Path, change: Callable[[str, str], Team]) -> None:
    from metier.cluster import app

    entry = next(e for e in deploy.serve_config(read(file), file, URL)["applications"] if e["name"] == "router")
    change("about: Finds.,", "about: Finds., needs: [stock],")

    with pytest.raises(InvalidTeam, match="is not what the configuration was built from"):
        app.application(entry["args"])


def test_a_node_whose_team_file_lacks_the_actor_says_so(file: Path) -> None:
    from metier.cluster import app

    given = deploy.serve_config(read(file), file, URL)["applications"][0]["args"]

    with pytest.raises(InvalidTeam, match="it has no waiter: build the configuration again"):
        app.application(given | {"name": "waiter"})


def test_arguments_nobody_knows_are_refused(file: Path) -> None:
    from metier.cluster import app

    given = deploy.serve_config(read(file), file, URL)["applications"][0]["args"]

    with pytest.raises(msgspec.ValidationError):
        app.application(given | {"natsurl": URL})


# ── The command ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_build_prints_what_serve_reads(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == run(["build", str(file), "--nats", URL, "--file", "/team/team.yaml"])

    assert deploy.serve_config(read(file), "/team/team.yaml", URL) == yaml.safe_load(capsys.readouterr().out)


def test_build_leaves_the_file_as_it_was_when_the_team_is_wrong(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "serve.yaml"
    out.write_text("as it was")
    file.write_text("name: office")

    assert 2 == run(["build", str(file), "--out", str(out)])
    assert "as it was" == out.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["--directory", "state"],
        ["--file", "team.yaml"],
        ["--nats", "broker"],
        ["--nats", ""],
        ["--out", "/nowhere/serve.yaml"],
    ],
)
def test_build_refuses_what_no_node_could_use(
    file: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert 2 == run(["build", str(file), *options])

    assert options[1] in capsys.readouterr().err
