"""Every decision about a plan, as pure functions: plan in, plan or messages out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec

from metier.topics.errors import InvalidValue
from metier.topics.ledger import Node, Plan
from metier.topics.messages import (
    Escalation,
    Event,
    Finding,
    Privacy,
    Recorded,
    Result,
    State,
    Subtask,
    Task,
    Tokens,
)

from .engines.base import Routing

#: Ways a node can end that leave something for those who wait for it.
SETTLED = frozenset({State.OK, State.FAILED, State.EXPIRED, State.CANCELLED})


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """One size of large model, as the policy sees it. Prices are USD per million tokens."""

    name: str
    local: bool
    stand_in: bool = False
    prompt_price: float = 0.0
    output_price: float = 0.0

    def price(self, tokens: Tokens) -> float:
        """What these tokens cost on this tier, in USD."""
        return (tokens.prompt * self.prompt_price + tokens.output * self.output_price) / 1e6


class Roster(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on the team."""

    #: What each specialist waits for, by name.
    needs: Mapping[str, tuple[str, ...]]
    #: The tier each specialist, and "router", gives up to.
    gives_up_to: Mapping[str, str] = {}
    tiers: Mapping[str, Tier] = {}
    threshold: float = 0.5
    open_threshold: float = 0.5
    private_threshold: float = 0.5

    @property
    def dearest(self) -> Tier | None:
        """The tier that costs are compared with."""
        return max(self.tiers.values(), key=lambda tier: tier.output_price, default=None)


# ── The router's decision ────────────────────────────────────────────────────────────────────────────────────────────


def nodes(routing: Routing, roster: Roster) -> dict[str, Node]:
    """The nodes of a plan: the specialists a request calls for, or the large model if it is open or nobody's trade.

    Empty when it is, and the team has no large model.
    """
    chosen = [name for name in roster.needs if routing.specialists.get(name, 0.0) >= roster.threshold]
    tier = roster.gives_up_to.get("router", "")
    if routing.open >= roster.open_threshold or not chosen:
        return {tier: Node(specialist=tier)} if tier in roster.tiers else {}
    return _graph(chosen, roster)


def confided(task: Task, routing: Routing, roster: Roster) -> Task:
    """The task, kept inside the cluster if what it says is private, whatever its sender said."""
    if routing.private <= roster.private_threshold:
        return task
    return msgspec.structs.replace(task, privacy=Privacy.LOCAL)


def named(specialists: Sequence[str], roster: Roster) -> dict[str, Node]:
    """The nodes of a plan whose specialists the task names itself. Raises InvalidValue for one who is not there."""
    for name in specialists:
        if name not in roster.needs:
            raise InvalidValue(value=name, kind="specialist", reason=f"this team has {', '.join(roster.needs)}")
    return _graph([name for name in roster.needs if name in specialists], roster)


def _graph(chosen: Sequence[str], roster: Roster) -> dict[str, Node]:
    """Who waits for whom, among those who were chosen."""
    return {
        name: Node(specialist=name, needs=tuple(need for need in roster.needs[name] if need in chosen))
        for name in chosen
    }


# ── What happens next ────────────────────────────────────────────────────────────────────────────────────────────────


def merge(plan: Plan, result: Result, roster: Roster, traceparent: str = "") -> Plan:
    """The plan with a result in it, closed if that was the last; the same plan if the result changes nothing."""
    node = plan.nodes.get(result.node)
    if plan.status or plan.turn != result.turn or node is None or node.finding:
        return plan
    finding = result.finding
    if finding.state is State.ESCALATE:
        if node.escalated:
            return plan
        tier = tier_for(plan, node, roster)
        if isinstance(tier, Tier):
            return plan.with_node(result.node, msgspec.structs.replace(node, escalated=tier.name))
        finding = msgspec.structs.replace(finding, state=State.FAILED, reason=f"{finding.reason}; {tier}")
    done = msgspec.structs.replace(node, finding=finding, traceparent=traceparent)
    return close_if_done(plan.with_node(result.node, done))


def tier_for(plan: Plan, node: Node, roster: Roster) -> Tier | str:
    """The tier a node may be handed to, or why there is none."""
    tier = roster.tiers.get(roster.gives_up_to.get(node.specialist, ""))
    if tier is None:
        return "the team has no larger model"
    if plan.task.privacy is Privacy.LOCAL and not tier.local:
        return f"the task is private and tier {tier.name} is not local"
    budget = plan.task.budget_usd
    if budget is not None and not tier.stand_in and spent(plan) >= budget:
        return f"the budget of ${budget:.4f} is spent"
    return tier


def ready(plan: Plan) -> list[str]:
    """Nodes without a finding whose needs are all settled."""
    if plan.status:
        return []
    return [id_ for id_, node in plan.nodes.items() if not node.finding and _settled(plan, node)]


def _settled(plan: Plan, node: Node) -> bool:
    return all((finding := plan.nodes[need].finding) and finding.state in SETTLED for need in node.needs)


def close_if_done(plan: Plan) -> Plan:
    """The plan closed if nothing can run and nothing runs."""
    if any(not node.finding and _settled(plan, node) for node in plan.nodes.values()):
        return plan
    return close(plan, outcome(plan))


def close(plan: Plan, status: State) -> Plan:
    """The plan with its turn ended; the same plan if it had ended."""
    return plan if plan.status else msgspec.structs.replace(plan, status=status)


def outcome(plan: Plan) -> State:
    """How a plan without running nodes ended: it asks, it gives something, or it says why not."""
    findings = [node.finding for node in plan.nodes.values() if node.finding]
    if any(finding.state is State.INPUT_REQUIRED for finding in findings):
        return State.INPUT_REQUIRED
    if any(finding.state is State.CANCELLED for finding in findings):
        return State.CANCELLED
    last = [finding for _, finding in sinks(plan) if finding]
    if any(finding.state is State.OK for finding in last):
        return State.OK
    return State.EXPIRED if any(finding.state is State.EXPIRED for finding in last) else State.FAILED


def sinks(plan: Plan) -> list[tuple[str, Finding | None]]:
    """The nodes nobody waits for: what they found is the answer."""
    needed = {need for node in plan.nodes.values() for need in node.needs}
    return [(id_, node.finding) for id_, node in plan.nodes.items() if id_ not in needed]


def follow_up(plan: Plan, task: Task, deadline: dt.datetime) -> Plan:
    """The plan of the next turn: the words appended, the nodes that asked for them open again."""
    whole = msgspec.structs.replace(
        plan.task,
        text=f"{plan.task.text}\n{task.text}",
        deadline_s=task.deadline_s,
        turn=task.turn,
        privacy=Privacy.LOCAL if Privacy.LOCAL in (plan.task.privacy, task.privacy) else Privacy.ANY,
    )
    asked = {i for i, node in plan.nodes.items() if node.finding and node.finding.state is State.INPUT_REQUIRED}
    reopened = {
        id_: msgspec.structs.replace(node, finding=None, escalated=None) if id_ in asked else node
        for id_, node in plan.nodes.items()
    }
    return msgspec.structs.replace(plan, task=whole, turn=task.turn, deadline=deadline, nodes=reopened, status=None)


# ── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def order(plan: Plan, id_: str, roster: Roster, recorded: Recorded | None = None) -> Subtask | Escalation:
    """The message that sets a node to work, with the plan as it is recorded."""
    node, task = plan.nodes[id_], plan.task
    inputs = {need: finding for need in node.needs if (finding := plan.nodes[need].finding)}
    tier = node.escalated or (node.specialist if node.specialist in roster.tiers else None)
    if tier is None:
        return Subtask(
            task_id=task.task_id,
            tenant=task.tenant,
            turn=plan.turn,
            node=id_,
            specialist=node.specialist,
            text=task.text,
            context=task.context,
            deadline=plan.deadline,
            class_=task.class_,
            privacy=task.privacy,
            inputs=inputs,
            recorded=recorded,
        )
    return Escalation(
        task_id=task.task_id,
        tenant=task.tenant,
        turn=plan.turn,
        node=id_,
        tier=tier,
        source=node.specialist if node.escalated else "router",
        reason="the specialist was not sure" if node.escalated else "the request is open, or nobody's trade",
        text=task.text,
        context=task.context,
        deadline=plan.deadline,
        class_=task.class_,
        privacy=task.privacy,
        budget_usd=task.budget_usd,
        inputs=inputs,
        recorded=recorded,
    )


def result(order: Subtask | Escalation, finding: Finding) -> Result:
    """What an order came to."""
    return Result(
        task_id=order.task_id,
        tenant=order.tenant,
        turn=order.turn,
        node=order.node,
        finding=finding,
        recorded=order.recorded,
    )


def planned(plan: Plan) -> Event:
    """The event that shows the plan."""
    return Event(task_id=plan.task.task_id, tenant=plan.task.tenant, turn=plan.turn, what="planned", plan=plan.graph())


# ── Cost ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def spent(plan: Plan) -> float:
    """What the plan has cost so far, in USD."""
    return sum(tokens.cost_usd for tokens in used(plan))


def used(plan: Plan) -> Sequence[Tokens]:
    """Every model call of the plan, the router's first."""
    calls = [plan.routing] if plan.routing else []
    return calls + [tokens for n in plan.nodes.values() if n.finding for tokens in n.finding.tokens]
