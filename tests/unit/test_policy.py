"""Decisions about a plan, without a bus or a model."""

from __future__ import annotations

import datetime as dt

import msgspec
import pytest

from metier.actors import answers, policy
from metier.actors.engines.base import Routing
from metier.actors.loop import pause_s
from metier.actors.policy import Roster, Tier
from metier.topics.errors import InvalidValue
from metier.topics.ledger import Node, Plan
from metier.topics.messages import Escalation, Finding, Privacy, Result, State, Subtask, Task, Tokens

LARGE = Tier(name="large", local=False, prompt_price=2.0, output_price=10.0)
ROSTER = Roster(
    needs={"flights": (), "hotels": (), "secretary": ("flights", "hotels")},
    gives_up_to={"router": "large", "flights": "large", "hotels": "large"},
    tiers={"large": LARGE},
)
NOON = dt.datetime(2026, 11, 25, 12, tzinfo=dt.UTC)


def routed(open_: float = 0.0, **specialists: float) -> Routing:
    return Routing(specialists=specialists, open=open_, model="encoder", tokens=5, seconds=0.01)


def plan(*names: str, **task: object) -> Plan:
    nodes = policy.nodes(routed(**dict.fromkeys(names, 1.0)), ROSTER)
    return Plan(task=Task(task_id="t", text="a trip", **task), turn=1, deadline=NOON, nodes=nodes)  # type: ignore[arg-type]


def result(node: str, state: State = State.OK, **finding: object) -> Result:
    found = Finding(state=state, specialist=node, **{"text": f"{node} found", **finding})  # type: ignore[arg-type]
    return Result(task_id="t", tenant="default", turn=1, node=node, finding=found)


def merged(start: Plan, *results: Result) -> Plan:
    for one in results:
        start = policy.merge(start, one, ROSTER)
    return start


def test_only_likely_specialists_are_called() -> None:
    assert list(policy.nodes(routed(flights=0.9, hotels=0.4), ROSTER)) == ["flights"]


def test_a_task_that_says_what_is_private_stays_inside_whatever_its_sender_said() -> None:
    task, private = Task(task_id="t", text="a trip"), msgspec.structs.replace(routed(), private=0.6)

    assert Privacy.LOCAL is policy.confided(task, private, ROSTER).privacy
    assert task == policy.confided(task, routed(), ROSTER)


@pytest.mark.parametrize("turn", [0, 1])
def test_a_plan_stays_private_once_one_of_its_turns_is(turn: int) -> None:
    said = [{"privacy": Privacy.LOCAL} if turn == at else {} for at in range(2)]
    more = Task(task_id="t", text="on Friday", turn=2, **said[1])

    assert Privacy.LOCAL is policy.follow_up(plan("flights", **said[0]), more, NOON).task.privacy


def test_a_specialist_waits_only_for_those_in_the_plan() -> None:
    nodes = policy.nodes(routed(hotels=0.9, secretary=0.9), ROSTER)

    assert nodes["secretary"].needs == ("hotels",)


@pytest.mark.parametrize("routing", [routed(open_=0.9, flights=0.9), routed(flights=0.1)])
def test_open_and_unclaimed_requests_go_to_the_large_model(routing: Routing) -> None:
    assert {"large": Node(specialist="large")} == policy.nodes(routing, ROSTER)


def test_without_a_large_model_an_open_request_has_no_plan() -> None:
    assert policy.nodes(routed(open_=0.9), Roster(needs=ROSTER.needs)) == {}


def test_those_who_need_nobody_start_at_once_and_the_joiner_last() -> None:
    start = plan("flights", "hotels", "secretary")
    half = merged(start, result("flights"))
    both = merged(half, result("hotels"))

    assert policy.ready(start) == ["flights", "hotels"]
    assert policy.ready(half) == ["hotels"]
    assert policy.ready(both) == ["secretary"]


def test_a_failed_need_does_not_stop_the_joiner() -> None:
    after = merged(plan("flights", "hotels", "secretary"), result("flights", State.FAILED), result("hotels"))

    assert policy.ready(after) == ["secretary"]


def test_a_result_seen_twice_changes_nothing() -> None:
    once = merged(plan("flights", "hotels"), result("flights"))

    assert policy.merge(once, result("flights", text="other"), ROSTER) is once


def test_a_result_of_another_turn_changes_nothing() -> None:
    start = plan("flights")
    late = Result(task_id="t", tenant="default", turn=2, node="flights", finding=result("flights").finding)

    assert policy.merge(start, late, ROSTER) is start


def test_a_closed_plan_never_changes() -> None:
    closed = policy.close(plan("flights"), State.EXPIRED)

    assert policy.merge(closed, result("flights"), ROSTER) is closed
    assert policy.close(closed, State.CANCELLED) is closed


def test_the_last_result_closes_the_plan() -> None:
    assert merged(plan("flights"), result("flights")).status is State.OK


def test_a_question_to_the_asker_closes_the_turn_without_the_joiner() -> None:
    asks = result("flights", State.INPUT_REQUIRED, text="", missing=("origin",))
    after = merged(plan("flights", "hotels", "secretary"), result("hotels"), asks)
    answer = answers.answer(after, ROSTER)

    assert answer.status is State.INPUT_REQUIRED
    assert answer.missing == ("flights.origin",)
    assert answer.text == "flights needs to know: origin."


def test_a_follow_up_opens_only_what_asked_and_keeps_what_was_found() -> None:
    asks = result("flights", State.INPUT_REQUIRED, missing=("origin",))
    closed = merged(plan("flights", "hotels", "secretary"), result("hotels"), asks)
    more = policy.follow_up(closed, Task(task_id="t", text="From Lyon", turn=2), NOON)

    assert more.task.text == "a trip\nFrom Lyon"
    assert more.status is None
    assert policy.ready(more) == ["flights"]
    assert more.nodes["hotels"].finding is not None


def test_an_unsure_node_is_ordered_from_the_tier() -> None:
    after = merged(plan("flights"), result("flights", State.ESCALATE))
    order = policy.order(after, "flights", ROSTER)

    assert after.status is None
    assert isinstance(order, Escalation)
    assert (order.tier, order.source) == ("large", "flights")


def test_a_node_is_given_up_once() -> None:
    once = merged(plan("flights"), result("flights", State.ESCALATE))

    assert policy.merge(once, result("flights", State.ESCALATE), ROSTER) is once


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ({"privacy": Privacy.LOCAL}, "the task is private and tier large is not local"),
        ({"budget_usd": 0.0}, "the budget of $0.0000 is spent"),
    ],
)
def test_privacy_and_budget_keep_a_node_from_the_tier(task: dict[str, object], why: str) -> None:
    after = merged(plan("flights", **task), result("flights", State.ESCALATE, reason="unsure"))
    finding = after.nodes["flights"].finding

    assert after.status is State.FAILED
    assert finding
    assert finding.reason == f"unsure; {why}"


def test_an_order_carries_the_findings_the_node_needs() -> None:
    ready = merged(plan("flights", "hotels", "secretary"), result("flights"), result("hotels"))
    order = policy.order(ready, "secretary", ROSTER)

    assert isinstance(order, Subtask)
    assert {name: finding.text for name, finding in order.inputs.items()} == {
        "flights": "flights found",
        "hotels": "hotels found",
    }


def test_the_answer_is_what_the_last_nodes_found() -> None:
    done = merged(
        plan("flights", "hotels", "secretary"),
        result("flights", State.FAILED, reason="no such city"),
        result("hotels"),
        result("secretary"),
    )
    answer = answers.answer(done, ROSTER)

    assert answer.status is State.OK
    assert answer.text == "secretary found"
    assert answer.missing == ("flights",)


def test_cost_compares_with_the_same_tokens_on_the_dearest_tier() -> None:
    tokens = (Tokens(model="slm", prompt=1_000_000, output=100_000, seconds=2.0),)
    cost = answers.cost(merged(plan("flights"), result("flights", tokens=tokens)), ROSTER)

    assert cost.usd == 0
    assert cost.large_model_usd == pytest.approx(3.0)
    assert (cost.prompt_tokens, cost.output_tokens, cost.model_seconds) == (1_000_000, 100_000, 2.0)


def test_a_stand_in_is_named_in_the_notes() -> None:
    tokens = (Tokens(model="tiny", stand_in=True),)
    answer = answers.answer(merged(plan("flights"), result("flights", tokens=tokens)), ROSTER)

    assert answer.notes == ("No large model is configured: tiny, the small base model, answered in its place.",)


def test_failed_attempts_rest_longer_each_time() -> None:
    assert [0.25, 0.5, 1.0, 2.0] == [pause_s(n) for n in (1, 2, 3, 4)]
    assert pause_s(20) == 15.0


def test_a_task_may_name_its_specialists() -> None:
    nodes = policy.named(["secretary", "hotels"], ROSTER)

    assert {"hotels": (), "secretary": ("hotels",)} == {name: node.needs for name, node in nodes.items()}


def test_a_named_specialist_must_be_on_the_team() -> None:
    with pytest.raises(InvalidValue, match="'trains' is not a specialist: this team has flights, hotels, secretary"):
        policy.named(["flights", "trains"], ROSTER)
