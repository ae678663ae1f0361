"""`metier build`: a team as the file that `serve deploy` takes, or as Kubernetes objects."""

from __future__ import annotations

from argparse import Namespace
from importlib.metadata import version
from pathlib import Path

import yaml

from metier.topics.errors import InvalidInput

from .. import deploy, kubernetes
from ..server import PORT
from ..team import read
from .session import TRIP

_HEAD = """\
# Team {team}, written by `metier build`: change the team file and build again.
#   serve deploy FILE
"""


def build(options: Namespace) -> int:
    """Writes Serve's configuration of a team, or its Kubernetes objects. Raises InvalidTeam or InvalidInput."""
    here = Path(options.team or TRIP)
    team = read(here)
    _check(options)
    if options.kubernetes:
        _write(kubernetes.render(team, _place(options)), options.out)
        return 0
    nats_url = options.nats or f"nats://127.0.0.1:{PORT}"
    config = deploy.serve_config(team, options.file or here.resolve(), nats_url, options.directory)
    _write(_HEAD.format(team=team.name) + yaml.safe_dump(config, sort_keys=False, allow_unicode=True), options.out)
    return 0


def _check(options: Namespace) -> None:
    if options.image and not options.kubernetes:
        raise InvalidInput(reason="--image is for --kubernetes")
    for name in ("file", "directory"):
        path = getattr(options, name)
        if path is not None and not Path(path).is_absolute():
            raise InvalidInput(reason=f"--{name} is {path!r}: the nodes need an absolute path")
    for url in options.nats.split(",") if options.nats is not None else ():
        if "://" not in url:
            raise InvalidInput(reason=f"--nats is {options.nats!r}: write it as nats://HOST:4222, several with commas")


def _place(options: Namespace) -> kubernetes.Place:
    if options.file or options.directory:
        raise InvalidInput(reason="with --kubernetes the image says where --file and --directory are")
    image = options.image or f"metier:{version('metier')}"
    return kubernetes.Place(image=image, **({"nats_url": options.nats} if options.nats else {}))


def _write(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")  # noqa: T201 - what is asked for
        return
    try:
        out.write_text(text)
    except OSError as error:
        raise InvalidInput(reason=f"--out {out}: {error.strerror}") from error
