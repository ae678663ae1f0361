"""`metier gateway`: the HTTP door as a process of its own."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
from argparse import Namespace

import msgspec

from metier.topics.errors import InvalidInput, NotUp
from metier.topics.subjects import Subjects

from .. import telemetry
from ..gateway.settings import Gateway, address
from ..state import State
from ..team import Team, Telemetry, read
from ..view import console


def gateway(options: Namespace) -> int:
    """Serves until Ctrl-C or SIGTERM; with `--new-key`, prints a key and the line to store, and serves nothing."""
    if options.new_key:
        return _new_key(options)
    import uvloop  # here, and below: the other commands do not need a server

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(options))
    return 0


async def _serve(options: Namespace) -> None:
    from ..gateway import server

    url, root, team = _where(options)
    settings = _settings(options, team)
    state = None if options.nats else State(options.directory)
    sent_to = team.telemetry if team else Telemetry()
    telemetry.setup(service="gateway", telemetry=sent_to, directory=str(state.path) if state else None)
    listener = server.listener(settings)
    shown = address(*listener.getsockname()[:2])
    screen = console(stderr=options.json)

    def started() -> None:
        if options.json:
            print(msgspec.json.encode({"url": shown}).decode(), flush=True)  # noqa: T201 - for machines
        screen.print(f"Ready: {shown}", style="bold green", markup=False, soft_wrap=True)

    app = server.door(url, Subjects(root), settings, team, state.traces if state else None)
    running = server.Server(app, started)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, running.close)
    try:
        await running.serve([listener])
    finally:
        telemetry.shutdown()


def _where(options: Namespace) -> tuple[str, str, Team | None]:
    """The broker, the root of the subjects, and the team if its file is known. Raises NotUp or InvalidTeam."""
    team = read(options.team) if options.team else None
    if options.nats:
        return options.nats, options.root or (team.root if team else "metier"), team
    try:
        up = State(options.directory).read()
    except NotUp as error:
        raise InvalidInput(reason=f"give --nats URL, or start a team: {error}") from error
    return up.nats_url, up.root, team or read(up.team)


def _settings(options: Namespace, team: Team | None) -> Gateway:
    """The team's own, with what the command says."""
    settings = (team.gateway if team else None) or Gateway()
    given = {name: getattr(options, name) for name in ("host", "port", "keys") if getattr(options, name) is not None}
    if options.streams:
        given["limits"] = msgspec.structs.replace(settings.limits, streams=options.streams)
    return msgspec.structs.replace(settings, **given)


def _new_key(options: Namespace) -> int:
    from ..gateway import keys

    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=options.days) if options.days else None
    key, line = keys.new(options.new_key, until)
    if options.json:
        print(msgspec.json.encode({"key": key, "line": line}).decode())  # noqa: T201 - for machines
    else:
        console().print(f"Key, shown once:  {key}\nLine to store:    {line}", markup=False, soft_wrap=True)
    return 0
