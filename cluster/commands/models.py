"""`metier models`: which models are here, and getting them."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import msgspec
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from metier.actors.engines import sources
from metier.topics.errors import InvalidValue, ModelMissing

from .. import team as teams
from ..view import console

_WORDS = {
    "wait": "waits for another pull",
    "download": "downloads",
    "check": "checks",
    "convert": "converts, once",
    "ready": "ready",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One model as `models list --json` prints it."""

    name: str
    title: str
    ready: bool
    size_bytes: int
    directory: str
    source: str


def list_(options: Namespace) -> int:
    """Lists the models Metier knows, and those of `--team`."""
    entries = [_entry(name, source) for name, source in _known(options).items()]
    if options.json:
        print(msgspec.json.encode(entries).decode())  # noqa: T201 - for machines
        return 0
    table = Table("model", "shows as", "state", "size", "directory", box=box.SIMPLE_HEAD, pad_edge=False)
    for entry in entries:
        state = Text("ready", style="green") if entry.ready else Text("missing", style="red")
        size = f"{entry.size_bytes / 1e6:.0f} MB" if entry.ready else ""
        table.add_row(Text(entry.name), entry.title, state, size, Text(entry.directory, overflow="fold"))
    screen = console()
    screen.print(table)
    if any(not entry.ready for entry in entries):
        screen.print(f"To get what is missing: {sources.PULL}")
    return 0


def pull(options: Namespace) -> int:
    """Gets the models named, else those of `--team`, else all; what is ready is left alone. It blocks this process."""
    known = _known(options)
    wanted = {name: _find(known, name) for name in options.names} or _of_team(options) or known
    screen = console(stderr=options.json)
    for name, source in wanted.items():
        if screen.is_terminal:
            _pull_moving(screen, name, source)
        else:
            _pull_plain(screen, name, source)
    if options.json:
        print(msgspec.json.encode([_entry(n, s) for n, s in wanted.items()]).decode())  # noqa: T201 - for machines
    return 0


def _known(options: Namespace) -> dict[str, sources.Source]:
    new = {name: source for name, source in _of_team(options).items() if source not in sources.KNOWN.values()}
    return {**sources.KNOWN, **new}


def _of_team(options: Namespace) -> dict[str, sources.Source]:
    """The models of the team file, if one is named."""
    if not options.team:
        return {}
    team = teams.read(options.team)
    named = [model.source for model in team.models.values() if model.source]
    paths = {name: team.path(name) if name.startswith(("./", "../")) else name for name in named}
    return {name: sources.parse(path) for name, path in paths.items()}


def _find(known: dict[str, sources.Source], name: str) -> sources.Source:
    """Raises InvalidValue, which says what there is."""
    found = known.get(name) or next((source for source in known.values() if source.title == name), None)
    if found is None and ":" not in name and not name.startswith(("/", ".")):
        raise InvalidValue(value=name, kind="model", reason=f"there are {', '.join(known)}")
    return found or sources.parse(name)


def _entry(name: str, source: sources.Source) -> Entry:
    try:
        directory, ready = sources.find(source), True
    except ModelMissing:
        directory, ready = sources.directory(source), False
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if ready else 0
    return Entry(
        name=name, title=source.title, ready=ready, size_bytes=size, directory=str(directory), source=str(source)
    )


def _pull_moving(screen: Console, name: str, source: sources.Source) -> Path:
    columns = (
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("[bold]{task.fields[model]}"),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen) as progress:
        bar = progress.add_task("looks", model=name, total=None)

        def show(step: sources.Step) -> None:
            total = step.total_bytes or None if step.name == "download" else None
            progress.update(bar, description=_WORDS[step.name], completed=step.done_bytes, total=total)

        path = sources.pull(source, show)
        progress.update(bar, description=_WORDS["ready"], completed=1, total=1)
    return path


def _pull_plain(screen: Console, name: str, source: sources.Source) -> Path:
    said = ""

    def show(step: sources.Step) -> None:
        nonlocal said
        if step.name not in (said, "wait", "ready"):
            said = step.name
            screen.print(f"{name}: {_WORDS[step.name]}", markup=False)

    path = sources.pull(source, show)
    screen.print(f"{name}: ready in {path}", markup=False, soft_wrap=True)
    return path
