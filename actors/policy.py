"""Every decision about a plan, as pure functions: plan in, plan or messages out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import msgspec

from metier.topics.ledger import Node, Plan
from metier.topics.messages import (
    Answer,
    Cost,
    Escalation,
    Event,
    Finding,
    PlanGraph,
    Privacy,
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


# ── The router's decision ────────────────────────────────────────────────────────────────────────────────────────────


def nodes(routing: Routing, roster: Roster) -> dict[str, Node]:
    """The nodes of a plan: the specialists a request calls for, or the large model if it is open or nobody's trade.

    Empty when it is, and the team has no large model.
    """
    chosen = [name for name in roster.needs if routing.specialists.get(name, 0.0) >= roster.threshold]
    tier = roster.gives_up_to.get("router", "")
    if routing.open >= roster.open_threshold or not chosen:
        return {tier: Node(specialist=tier)} if tier in roster.tiers else {}
    return {
        name: Node(specialist=name, needs=tuple(need for need in roster.needs[name] if need in chosen))
        for name in chosen
    }


# ── What happens next ────────────────────────────────────────────────────────────────────────────────────────────────


def merge(plan: Plan, result: Result, roster: Roster) -> Plan:
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
    return close_if_done(plan.with_node(result.node, msgspec.structs.replace(node, finding=finding)))


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
        plan.task, text=f"{plan.task.text}\n{task.text}", deadline_s=task.deadline_s, turn=task.turn
    )
    asked = {i for i, node in plan.nodes.items() if node.finding and node.finding.state is State.INPUT_REQUIRED}
    reopened = {
        id_: msgspec.structs.replace(node, finding=None, escalated=None) if id_ in asked else node
        for id_, node in plan.nodes.items()
    }
    return msgspec.structs.replace(plan, task=whole, turn=task.turn, deadline=deadline, nodes=reopened, status=None)


# ── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def order(plan: Plan, id_: str, roster: Roster) -> Subtask | Escalation:
    """The message that sets a node to work."""
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
            privacy=task.privacy,
            inputs=inputs,
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
        privacy=task.privacy,
        budget_usd=task.budget_usd,
        inputs=inputs,
    )


def planned(plan: Plan) -> Event:
    """The event that shows the plan."""
    return Event(task_id=plan.task.task_id, tenant=plan.task.tenant, turn=plan.turn, what="planned", plan=plan.graph())


def answer(plan: Plan, roster: Roster) -> Answer:
    """The one answer to a closed turn: a function of the plan alone, so that sending it twice says the same."""
    if plan.status is None:
        raise ValueError(f"plan {plan.task.task_id} is not closed")
    findings = {id_: node.finding for id_, node in plan.nodes.items() if node.finding}
    return Answer(
        task_id=plan.task.task_id,
        tenant=plan.task.tenant,
        turn=plan.turn,
        status=plan.status,
        text=_text(plan),
        plan=plan.graph(),
        results=findings,
        missing=_missing(plan),
        cost=cost(plan, roster),
        trace_id=plan.trace_id,
        notes=_notes(plan),
    )


def _text(plan: Plan) -> str:
    if plan.status is State.INPUT_REQUIRED:
        asked = [f for node in plan.nodes.values() if (f := node.finding) and f.state is State.INPUT_REQUIRED]
        return "\n".join(f"{f.specialist} needs to know: {', '.join(f.missing)}." for f in asked)
    parts = []
    for id_, finding in sinks(plan):
        if finding is None:
            parts.append(f"{id_}: no result {'by the deadline' if plan.status is State.EXPIRED else 'yet'}.")
        elif finding.state is State.OK:
            parts.append(finding.text)
        else:
            parts.append(f"{finding.specialist}: {finding.reason}")
    if plan.status is State.CANCELLED:
        parts.insert(0, "Cancelled.")
    if plan.status is State.EXPIRED:
        parts += [f.text for i, f in _inner(plan) if f.state is State.OK]
    return "\n\n".join(part for part in parts if part)


def _inner(plan: Plan) -> list[tuple[str, Finding]]:
    last = {id_ for id_, _ in sinks(plan)}
    return [(i, node.finding) for i, node in plan.nodes.items() if i not in last and node.finding]


def _missing(plan: Plan) -> tuple[str, ...]:
    asked = [
        f"{id_}.{name}"
        for id_, node in plan.nodes.items()
        if node.finding and node.finding.state is State.INPUT_REQUIRED
        for name in node.finding.missing
    ]
    if asked:
        return tuple(asked)
    return tuple(i for i, n in plan.nodes.items() if n.finding is None or n.finding.state is not State.OK)


def _notes(plan: Plan) -> tuple[str, ...]:
    stood_in = sorted(
        {
            tokens.model
            for node in plan.nodes.values()
            if node.finding
            for tokens in node.finding.tokens
            if tokens.stand_in
        }
    )
    return tuple(
        f"No large model is configured: {model}, the small base model, answered in its place." for model in stood_in
    )


def unplanned(task: Task, status: State, reason: str, trace_id: str) -> Answer:
    """The answer to a task that never got a plan."""
    return Answer(
        task_id=task.task_id,
        tenant=task.tenant,
        turn=task.turn,
        status=status,
        text=reason,
        plan=PlanGraph(nodes=()),
        results={},
        missing=(),
        cost=Cost(usd=0, large_model_usd=0, prompt_tokens=0, output_tokens=0, model_seconds=0),
        trace_id=trace_id,
    )


# ── Cost ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def spent(plan: Plan) -> float:
    """What the plan has cost so far, in USD."""
    return sum(tokens.cost_usd for tokens in used(plan))


def used(plan: Plan) -> Sequence[Tokens]:
    """Every model call of the plan, the router's first."""
    calls = [plan.routing] if plan.routing else []
    return calls + [tokens for n in plan.nodes.values() if n.finding for tokens in n.finding.tokens]


def cost(plan: Plan, roster: Roster) -> Cost:
    """What the plan used, and the same tokens priced as the dearest tier."""
    calls = used(plan)
    dearest = max(roster.tiers.values(), key=lambda tier: tier.output_price, default=None)
    return Cost(
        usd=sum(tokens.cost_usd for tokens in calls),
        large_model_usd=sum(dearest.price(tokens) for tokens in calls) if dearest else 0.0,
        prompt_tokens=sum(tokens.prompt for tokens in calls),
        output_tokens=sum(tokens.output for tokens in calls),
        model_seconds=round(sum(tokens.seconds for tokens in calls), 3),
    )
