"""What went wrong, as problem details for HTTP (RFC 9457)."""

from __future__ import annotations

import logging
import math
import re
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from metier.topics import errors

MEDIA_TYPE = "application/problem+json"
#: A client may ask again after this many seconds when the bus is away.
AWAY_S = 2

log = logging.getLogger("metier.gateway")

#: The nearest class above an error decides.
STATUS: dict[type[errors.MetierError], HTTPStatus] = {
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Busy: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Unknown: HTTPStatus.NOT_FOUND,
    errors.Timeout: HTTPStatus.GATEWAY_TIMEOUT,
}


class Details(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"openai": "error"}):
    """A problem (RFC 9457, section 3). `type` names the kind, for programs; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    #: The same for OpenAI's clients, on their paths alone.
    openai: dict[str, Any] | None = None


class Problem(Exception):  # noqa: N818 - it is what HTTP calls it
    """A request that gets no answer, and why."""

    def __init__(self, status: int, detail: str, *, kind: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.detail = detail
        self.kind = kind or _kebab(self.status.phrase)
        self.headers = headers or {}

    def details(self, *, openai: bool = False) -> Details:
        """As it is sent, for OpenAI's clients too if the path is theirs."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.detail, "type": kind, "param": None, "code": self.kind.replace("-", "_")}
        return Details(
            type=f"urn:metier:problem:{self.kind}",
            title=self.kind.replace("-", " ").capitalize().replace("json", "JSON"),
            status=self.status,
            detail=self.detail,
            openai=error if openai else None,
        )

    def response(self, *, openai: bool = False) -> Response:
        """The response."""
        return Response(msgspec.json.encode(self.details(openai=openai)), self.status, self.headers, MEDIA_TYPE)


def retry_after(seconds: float) -> dict[str, str]:
    """The header, in whole seconds, at least one."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def of(error: Exception) -> Problem:
    """The problem an error is. What nobody expected is logged, and told without its words."""
    if isinstance(error, Problem):
        return error
    for kind in type(error).__mro__:
        if status := STATUS.get(kind):
            again_s = getattr(error, "retry_after_s", None) or AWAY_S
            headers = retry_after(again_s) if status in (429, 503) else {}
            return Problem(status, str(error), kind=_kebab(type(error).__name__), headers=headers)
    log.error("a request failed", exc_info=error, extra={"action": "request_error"})
    return Problem(500, "Something went wrong here; it is in the gateway's log.")


def _kebab(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[^a-z]+", "-", spaced.lower()).strip("-")
