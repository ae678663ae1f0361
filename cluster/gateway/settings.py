"""What an operator may say of the HTTP door."""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


def address(host: str, port: int) -> str:
    """The address of a door, as a browser takes it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one gateway takes on."""

    #: A larger request body is refused.
    body_bytes: Annotated[int, msgspec.Meta(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024
    #: A request whose head, or then whose body, is not here by then is refused.
    body_s: Seconds = 10.0
    #: The longest a request may wait for an answer, other than as a stream.
    wait_s: Seconds = 60.0
    #: Open streams of events, and requests that wait, at once.
    streams: Count = 2_000


class Gateway(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The HTTP door of a team."""

    #: An address that is not this machine's own needs API keys.
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 8080
    #: A file of API keys (`metier gateway --new-key TENANT` makes a line); none: those in $METIER_KEYS.
    #: Without any, the door is for this machine alone and all are tenant "default".
    keys: str | None = None
    #: The tenant that may read and retry dead messages, where there are keys; without keys it is whoever is here.
    operator: str = ""
    #: Web origins whose pages may use the door, as "https://app.example"; none: no cross-origin request.
    origins: tuple[str, ...] = ()
    #: How many there are: replicas under Serve, pods in Kubernetes. Each has its own limits.
    replicas: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    limits: Limits = Limits()
