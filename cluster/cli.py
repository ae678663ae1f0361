"""`metier`: the command line. What is asked for goes to standard output, everything else to standard error.

Exit status: 0 done; 1 it could not be done; 2 the input cannot be accepted; 3 the answer asks for more; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from metier.topics.errors import InvalidInput, MetierError

from . import demo
from .commands import ask, build, dead, evaluate, gateway, mcp, models, status, top, trace, train, up
from .view import console


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors like all others."""

    def error(self, message: str) -> NoReturn:
        """Raises InvalidInput."""
        raise InvalidInput(reason=f"{message} (see `{self.prog} --help`)")


def main() -> NoReturn:
    """The entry point."""
    # Quiet libraries: what concerns the person comes as an error or in the log of the team.
    logging.basicConfig(
        level=os.environ.get("METIER_LOG", "ERROR").upper(), format="%(levelname)s %(name)s: %(message)s"
    )
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status."""
    try:
        options = parser().parse_args(arguments)
        done = options.run(options)
        return asyncio.run(done) if inspect.iscoroutine(done) else int(done)
    except MetierError as error:
        console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2 if isinstance(error, InvalidInput) else 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser() -> Parser:
    """All commands."""
    root = Parser(prog="metier", description="A team of small language models, each with its own trade.")
    root.add_argument("--version", action="version", version=f"metier {version('metier')}")
    commands = root.add_subparsers(required=True, metavar="COMMAND")
    _team_commands(commands)
    _build_command(commands)
    _gateway_command(commands)
    _agents_commands(commands)
    _task_commands(commands)
    _dead_commands(commands)
    _model_commands(commands)
    _learning_commands(commands)
    command = _add(commands, "demo", demo.demo, "plan a weekend in Paris with the trip team, then stop everything")
    command.add_argument("text", nargs="?", default=demo.TEXT, help="what to ask instead")
    return root


def _team_commands(commands: Any) -> None:
    command = _add(commands, "up", up.up, "start a team on this machine")
    _directory(command)
    _json(command)
    command.add_argument("--team", metavar="FILE", help="the team file; default: the trip team")
    command.add_argument("--detach", action="store_true", help="return once it is ready")
    command.add_argument(
        "--port", type=_port, default=4222, metavar="N", help="for nats-server; default 4222, 0: any free one"
    )
    command = _add(commands, "down", up.down, "stop it")
    _directory(command)
    _json(command)
    command = _add(commands, "status", status.status, "who is there, what waits, how fast it goes")
    _where(command)
    _json(command)
    command = _add(commands, "top", top.top, "watch it: replicas, waiting work, rates, and why it was scaled")
    _where(command)
    command.add_argument(
        "--every", type=_seconds, default=1.0, metavar="S", help="seconds between two looks; default 1"
    )


def _build_command(commands: Any) -> None:
    command = _add(commands, "build", build.build, "write what `serve deploy` takes, or `kubectl apply`")
    command.add_argument("team", nargs="?", metavar="TEAM", help="the team file; default: the trip team")
    command.add_argument(
        "--nats",
        metavar="URL",
        help="the broker as the nodes reach it; default: one on this machine, in Kubernetes the service nats",
    )
    command.add_argument("--file", metavar="PATH", help="where the team file lies on the nodes; default: as here")
    command.add_argument("--directory", metavar="D", help="a folder on the nodes for traces and what tools keep")
    command.add_argument("--kubernetes", action="store_true", help="what `kubectl apply` takes: ops/kubernetes")
    command.add_argument("--image", help="for --kubernetes: the image that holds the team; default: metier:VERSION")
    command.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")


def _gateway_command(commands: Any) -> None:
    command = _add(commands, "gateway", gateway.gateway, "the HTTP door: tasks, events, an OpenAI-compatible model")
    _directory(command)
    _json(command)
    command.add_argument("--nats", metavar="URL", help="the broker; default: that of the team that is up")
    command.add_argument("--team", metavar="FILE", help="who is on the team; default: the file of the one that is up")
    command.add_argument("--root", metavar="R", help="of the subjects; default: the team's, or metier")
    command.add_argument("--host", metavar="H", help="default 127.0.0.1; any other needs API keys")
    command.add_argument("--port", type=_port, metavar="N", help="default 8080, 0: any free one")
    command.add_argument("--keys", metavar="FILE", help="API keys; default: those in $METIER_KEYS")
    command.add_argument("--streams", type=_number, metavar="N", help="at once; default 2000")
    command.add_argument("--new-key", metavar="TENANT", help="print a new key for a tenant, and its line for the file")
    command.add_argument("--days", type=_number, metavar="N", help="how long the new key is good; default: for ever")


def _agents_commands(commands: Any) -> None:
    for name, handler, about in (
        ("mcp", mcp.mcp, "the team as tools for an agent: MCP on standard input and output"),
        ("agents", mcp.agents, "the team as agents that others find on the bus: the Synadia agent protocol"),
    ):
        command = _add(commands, name, handler, about)
        _where(command)
        command.add_argument("--tenant", default="default", metavar="T", help="whose tasks these are; default: default")


def _task_commands(commands: Any) -> None:
    command = _add(commands, "ask", ask.ask, "ask the team, and see it work")
    _where(command)
    _json(command)
    command.add_argument("text", help="what is asked, in plain words")
    command.add_argument("--date", metavar="YYYY-MM-DD", help='the day "tomorrow" counts from; default: today')
    command.add_argument("--home", metavar="CITY", help="where a journey starts if the text names no city")
    command.add_argument("--time-zone", metavar="TZ", help="IANA name, as Europe/Paris; default: this machine's")
    command.add_argument(
        "--privacy", choices=("any", "local"), default="any", help="local: no model outside the cluster"
    )
    command.add_argument("--deadline", type=float, default=30.0, metavar="SECONDS", help="default 30")
    command.add_argument("--task", metavar="ID", help="continue this task with what it was missing")
    command = _add(commands, "trace", trace.trace, "where the time of a task went")
    _where(command)
    _json(command)
    command.add_argument("task", help="the task's id, as `ask` shows it")


def _dead_commands(commands: Any) -> None:
    command = _add(commands, "dead", dead.list_, "messages nobody could handle")
    _where(command)
    _json(command)
    verbs = command.add_subparsers(metavar="list|show|retry")
    _inherited(_add(verbs, "list", dead.list_, "list them (the default)"))
    for name, handler, about in (("show", dead.show, "show one"), ("retry", dead.retry, "send one on its way again")):
        verb = _inherited(_add(verbs, name, handler, about))
        verb.add_argument("number", type=_number, help="its number in the list")


def _model_commands(commands: Any) -> None:
    command = _add(commands, "models", models.list_, "which models are here, and getting them")
    command.add_argument("--team", metavar="FILE", help="the models of this team file")
    _json(command)
    verbs = command.add_subparsers(metavar="list|pull")
    verb = _add(verbs, "list", models.list_, "list them (the default)")
    verb.add_argument("--team", metavar="FILE", default=argparse.SUPPRESS, help="the models of this team file")
    _json(verb, inherited=True)
    verb = _add(verbs, "pull", models.pull, "download, check and convert what is missing")
    verb.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    verb.add_argument("--team", metavar="FILE", default=argparse.SUPPRESS, help="the models of this team file")
    _json(verb, inherited=True)


def _learning_commands(commands: Any) -> None:
    command = _add(commands, "train", train.train, "train a router, heads for intents, or an adapter of a small model")
    command.add_argument("what", choices=train.WHAT)
    command.add_argument("rest", nargs=argparse.REMAINDER, metavar="OPTIONS", help="see `metier train router --help`")
    command = _add(commands, "eval", evaluate.evaluate, "measure how good a team's small models are")
    command.add_argument("what", choices=(*evaluate.TASKS, "all"), nargs="?", default="all")
    command.add_argument("--team", metavar="FILE", help="the team file; default: the trip team")
    command.add_argument("--data", type=Path, metavar="DIR", help="folder of the public sets: ops/evaluation.md")
    command.add_argument(
        "--adapter", default="general-tools", metavar="NAME", help="one that is shipped, one of the team's, or a folder"
    )
    command.add_argument("--against", type=Path, metavar="DIR", help="what else was trained for the same calls")
    command.add_argument("--sample", type=int, default=0, metavar="N", help="of each set; default: all")
    command.add_argument("--quick", action="store_true", help="without the model that was not trained")
    command.add_argument("--seed", type=int, default=7)
    command.add_argument("--out", type=Path, metavar="FILE", help="store the figures here, as JSON")
    command.add_argument(
        "--errors", type=Path, metavar="FILE", help="add the wrong calls to this file, one JSON a line"
    )
    command.add_argument(
        "--check",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="exit status 1 if a figure is surely worse than it must be, or than in these reports where it missed that",
    )
    _json(command)


def _add(commands: Any, name: str, handler: Any, about: str) -> Parser:
    command: Parser = commands.add_parser(name, help=about, description=about[0].upper() + about[1:] + ".")
    command.set_defaults(run=handler)
    return command


def _directory(command: Parser, *, inherited: bool = False) -> None:
    default = argparse.SUPPRESS if inherited else None
    about = "the team's state; default: $METIER_DIRECTORY, or .metier here"
    command.add_argument("--directory", metavar="D", default=default, help=about)


def _where(command: Parser, *, inherited: bool = False) -> None:
    """Which team: the one up on this machine, or one elsewhere by its broker."""
    _directory(command, inherited=inherited)
    default = argparse.SUPPRESS if inherited else None
    command.add_argument("--nats", metavar="URL", default=default, help="the broker of a team that runs elsewhere")
    command.add_argument("--team", metavar="FILE", default=default, help="its team file; default: the trip team")


def _json(command: Parser, *, inherited: bool = False) -> None:
    default = argparse.SUPPRESS if inherited else False
    command.add_argument("--json", action="store_true", default=default, help="for machines")


def _inherited(verb: Parser) -> Parser:
    """The options of the noun, after the verb too."""
    _where(verb, inherited=True)
    _json(verb, inherited=True)
    return verb


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: use 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds: use 0.1 to 3600")
    return seconds


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of the list")
    return int(text)


if __name__ == "__main__":
    main()
