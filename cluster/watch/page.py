"""The page in `cluster/page`, as routes: plain files, nothing to build, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "page"

#: It runs its own scripts, speaks to its own door, and is framed by nobody.
POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


async def index(request: Request) -> Response:
    """The page itself."""
    return FileResponse(FOLDER / "index.html", headers=HEADERS)


def routes() -> list[BaseRoute]:
    """The page at the root, and its files."""
    return [Route("/", index), Mount("/page", _Files(directory=FOLDER))]
