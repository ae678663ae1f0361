"""The one answer to a turn, written from its plan alone."""

from __future__ import annotations

from metier.topics.ledger import Plan
from metier.topics.messages import Answer, Cost, Finding, PlanGraph, State, Task

from . import policy


def answer(plan: Plan, roster: policy.Roster) -> Answer:
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
    for id_, finding in policy.sinks(plan):
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
    last = {id_ for id_, _ in policy.sinks(plan)}
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


def cost(plan: Plan, roster: policy.Roster) -> Cost:
    """What the plan used, and the same tokens priced as the dearest tier."""
    calls = policy.used(plan)
    dearest = roster.dearest
    return Cost(
        usd=sum(tokens.cost_usd for tokens in calls),
        large_model_usd=sum(dearest.price(tokens) for tokens in calls) if dearest else 0.0,
        prompt_tokens=sum(tokens.prompt for tokens in calls),
        output_tokens=sum(tokens.output for tokens in calls),
        model_seconds=round(sum(tokens.seconds for tokens in calls), 3),
    )
