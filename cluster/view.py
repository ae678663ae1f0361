"""What a person sees of one task: who works on it while it runs, then the answer and what it cost.

On a terminal it moves; anywhere else each step is one plain line.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from metier.topics.messages import Answer, Cost, Event, Finding, PlanGraph, State

#: Columns of output that is not a terminal: a log, a pipe.
PLAIN_WIDTH = 140
#: Lines of a large model's text shown while it is written.
TAIL_LINES = 6

MARKS = {
    State.OK: ("✓", "green"),
    State.ESCALATE: ("↑", "yellow"),
    State.INPUT_REQUIRED: ("?", "yellow"),
    State.FAILED: ("✗", "red"),
    State.EXPIRED: ("✗", "red"),
    State.CANCELLED: ("✗", "red"),
}


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or error; wide and plain when that is not a terminal."""
    screen = Console(stderr=stderr, highlight=False)
    return screen if screen.is_terminal else Console(stderr=stderr, highlight=False, width=PLAIN_WIDTH)


def working(screen: Console, what: str) -> AbstractContextManager[Any]:
    """A spinner while something slow runs; nothing where nobody looks."""
    return screen.status(escape(what)) if screen.is_terminal else nullcontext()


class Work(msgspec.Struct):
    """One node of a plan as its events tell it."""

    specialist: str
    needs: tuple[str, ...] = ()
    began: float | None = None
    call: str = ""
    text: str = ""
    state: State | None = None
    seconds: float | None = None


class Progress:
    """A task while it runs, told by its events. Events may be lost: the answer has the last word."""

    def __init__(self, screen: Console) -> None:
        self.screen = screen
        self.work: dict[str, Work] = {}
        self._stack = ExitStack()
        self._spinners: dict[str, Spinner] = {}

    def __enter__(self) -> Progress:
        if self.screen.is_terminal:
            live = Live(get_renderable=self._moving, console=self.screen, refresh_per_second=12, transient=True)
            self._stack.enter_context(live)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def show(self, event: Event) -> None:
        """Takes in one event."""
        if event.plan:
            self.work = {
                node.id: self.work.get(node.id) or Work(node.specialist, node.needs) for node in event.plan.nodes
            }
        if event.node:
            self._note(self.work.setdefault(event.node, Work(event.specialist)), event)
        if not self.screen.is_terminal and (line := line_of(event)):
            self.screen.print(line, markup=False, soft_wrap=True)

    def finish(self, answer: Answer) -> None:
        """Leaves on the screen what each node came to."""
        self._stack.close()
        if self.screen.is_terminal and answer.plan.nodes:
            self.screen.print(Text(f"plan  {graph(answer.plan)}", style="dim"))
            self.screen.print(findings(answer, {id_: w.seconds for id_, w in self.work.items()}))

    def _note(self, work: Work, event: Event) -> None:
        match event.what:
            case "started":
                work.began = time.monotonic()
            case "called":
                work.call = event.text
            case "tokens":
                work.text += event.text
            case "escalated":
                work.specialist, work.call, work.began = event.specialist, f"given up: {event.text}", None
            case "finished" if event.state is not State.ESCALATE:
                work.state, work.text, work.seconds = event.state, event.text, event.seconds

    def _moving(self) -> RenderableType:
        if not self.work:
            return self._spinner("", "the router reads the request")
        table = Table.grid(padding=(0, 1))
        for id_, work in self.work.items():
            table.add_row(self._mark(id_, work), Text(work.specialist, style="bold"), *self._cells(work))
        return Group(table)

    def _cells(self, work: Work) -> tuple[Text, RenderableType]:
        now = work.seconds if work.seconds is not None else time.monotonic() - work.began if work.began else None
        seconds = Text(f"{now:5.1f} s" if now is not None else "", style="dim", justify="right")
        if work.state:
            return seconds, Text(gist(work.text), no_wrap=True, overflow="ellipsis")
        if work.text:
            return seconds, Text("\n".join(work.text.strip().splitlines()[-TAIL_LINES:]))
        waits = [n for n in work.needs if n in self.work and not self.work[n].state]
        waiting = f"waits for {', '.join(waits)}" if waits and not work.began else ""
        return seconds, Text(work.call or waiting, style="dim", no_wrap=True, overflow="ellipsis")

    def _mark(self, id_: str, work: Work) -> RenderableType:
        if work.state:
            return mark(work.state)
        return self._spinner(id_, "") if work.began else Text("·", style="dim")

    def _spinner(self, id_: str, text: str) -> Spinner:
        return self._spinners.setdefault(id_, Spinner("dots", Text(text)))


# ── Lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def mark(state: State) -> Text:
    """How it ended, as one character."""
    sign, style = MARKS[state]
    return Text(sign, style=style)


def gist(text: str) -> str:
    """A text in one line: its first, and where that only announces a list, what is first in the list."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < 2 or not lines[0].endswith(":"):
        return lines[0] if lines else ""
    more = f" (and {len(lines) - 2} more lines)" if len(lines) > 2 else ""
    return f"{lines[0]} {lines[1]}{more}"


def graph(plan: PlanGraph) -> str:
    """A plan in one line: who works at once, and who waits for them."""
    first = [node.id for node in plan.nodes if not node.needs]
    then = [f"{node.id} after {', '.join(node.needs)}" for node in plan.nodes if node.needs]
    return "; ".join([", ".join(first), *then])


def line_of(event: Event) -> str | None:
    """An event as one plain line; None for what only moves on a terminal."""
    match event.what:
        case "planned" if event.plan:
            return f"plan: {graph(event.plan)}"
        case "started":
            return f"{event.specialist}: at work"
        case "called":
            return f"{event.specialist}: {event.text}"
        case "escalated":
            return f"{event.node}: given up to {event.specialist}: {event.text}"
        case "finished" if event.state is not State.ESCALATE:
            took = f" in {event.seconds:.2f} s" if event.seconds is not None else ""
            return f"{event.specialist}: {event.state}{took}: {gist(event.text)}"
    return None


def findings(answer: Answer, seconds: dict[str, float | None]) -> Table:
    """What each node came to, a line each, with the call that led there."""
    table = Table.grid(padding=(0, 1))
    for node in answer.plan.nodes:
        finding = answer.results.get(node.id)
        if finding is None:
            table.add_row(Text("·", style="dim"), Text(node.id, style="bold"), "", Text("no result", style="dim"))
            continue
        took = seconds.get(node.id)
        table.add_row(
            mark(finding.state),
            Text(finding.specialist, style="bold"),
            Text(f"{took:5.1f} s" if took is not None else "", style="dim", justify="right"),
            _found(finding),
        )
    return table


def _found(finding: Finding) -> RenderableType:
    said = Text(gist(finding.text or finding.reason or ""), no_wrap=True, overflow="ellipsis")
    if finding.call is None:
        return said
    arguments = ", ".join(f"{name}={value}" for name, value in finding.call.said.items() if value is not None)
    call = Text(f"{finding.call.tool}({arguments})", style="dim", no_wrap=True, overflow="ellipsis")
    return Group(call, said)


# ── The answer ───────────────────────────────────────────────────────────────────────────────────────────────────────


def show_answer(screen: Console, answer: Answer, *, tier: str | None = None, trace: str = "", where: str = "") -> None:
    """The answer, what must be known of it, what it cost, and where to look closer."""
    style = MARKS[answer.status][1]
    title = Text(str(answer.status).replace("_", " "), style=style)
    if screen.is_terminal:
        panel = Panel(Text(answer.text), title=title, title_align="left", border_style=style, padding=(1, 2))
        screen.print(panel)
    else:
        screen.print(f"\n{title.plain}\n\n{answer.text}\n", markup=False, soft_wrap=True)
    for note in answer.notes:
        screen.print(Text(f"note: {note}", style="yellow"), soft_wrap=True)
    if answer.status is State.INPUT_REQUIRED:
        screen.print(Text(f"missing: {', '.join(answer.missing)}", style="yellow"), soft_wrap=True)
        screen.print(Text(f'to go on: metier ask{where} --task {answer.task_id} "..."', style="bold"), soft_wrap=True)
    elif answer.missing:
        screen.print(Text(f"nothing came from: {', '.join(answer.missing)}", style="yellow"), soft_wrap=True)
    screen.print(Text(cost_line(answer.cost, tier), style="dim"), soft_wrap=True)
    if trace:
        screen.print(Text(trace, style="dim"), soft_wrap=True)


def cost_line(cost: Cost, tier: str | None = None) -> str:
    """What it cost here, and the same tokens on the large model."""
    here = f"${cost.usd:.4f} here"
    used = f"{cost.prompt_tokens} tokens read, {cost.output_tokens} written, {cost.model_seconds:.1f} s of models"
    if not cost.large_model_usd:
        return f"{here} · {used}"
    priced = f" (priced as tier {tier})" if tier else ""
    return f"{here} · about ${cost.large_model_usd:.4f} for the same tokens on the large model{priced} · {used}"


class Steps:
    """Things that become ready one after the other: who, what it does now, and since when."""

    READY = "ready"

    def __init__(self, screen: Console) -> None:
        self.screen = screen
        self._began = time.monotonic()
        self._now: dict[str, tuple[str, float, Spinner]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Steps:
        if self.screen.is_terminal:
            live = Live(get_renderable=self._moving, console=self.screen, refresh_per_second=12)
            self._stack.enter_context(live)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def tell(self, who: str, what: str) -> None:
        """Notes a step; "ready" ends a line. Safe from any thread."""
        after_s = time.monotonic() - self._began
        self._now[who] = (what, after_s, self._now[who][2] if who in self._now else Spinner("dots"))
        if not self.screen.is_terminal:
            self.screen.print(f"{after_s:6.1f} s  {who}: {what}", markup=False, soft_wrap=True)

    def _moving(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for who, (what, after_s, spinner) in list(self._now.items()):
            done = what.startswith(self.READY)
            mark_: RenderableType = Text("✓", style="green") if done else spinner
            since = after_s if done else time.monotonic() - self._began
            table.add_row(mark_, Text(who, style="bold"), Text(f"{since:5.1f} s", style="dim"), Text(what))
        return Padding(table, (0, 0, 0, 0))
