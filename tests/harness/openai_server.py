"""An OpenAI-compatible endpoint in a process of its own, with the bundled model behind it.

    python openai_server.py MODEL_DIRECTORY

It listens on a free port of this host, prints `listening on PORT` when it is ready, and knows the key `secret`, the
model `smollm2` and the model `breaks`, whose answers fail in the middle.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from metier.actors.engines.base import Completion, Engine, Prompt, Turn
from metier.actors.engines.transformers import TransformersEngine, TransformersSettings
from metier.topics.errors import EngineFailed

KEY = "secret"


@contextlib.asynccontextmanager
async def serving(model: Path, limit_s: float = 60) -> AsyncIterator[str]:
    """The base URL of a server that runs within."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, str(model), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(limit_s):
            line = await process.stdout.readline()
        yield f"http://127.0.0.1:{int(line.split()[-1])}/v1"
    finally:
        process.terminate()
        await process.communicate()


def app(engine: Engine) -> Starlette:
    """The application."""

    async def models(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided")
        return JSONResponse({"object": "list", "data": [{"id": "smollm2", "object": "model", "created": 0}]})

    async def chat(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "Incorrect API key provided")
        body = await request.json()
        if body["model"] not in ("smollm2", "breaks"):
            return _error(404, f"The model `{body['model']}` does not exist")
        if not body.get("stream"):
            return _error(400, "this server only streams")
        return StreamingResponse(_events(engine, body), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/models", models), Route("/v1/chat/completions", chat, methods=["POST"])])


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=status)


async def _events(engine: Engine, body: Mapping[str, Any]) -> AsyncIterator[bytes]:
    try:
        async for item in engine.stream(_prompt(body)):
            if isinstance(item, Completion):
                yield _event(choices=[{"index": 0, "delta": {}, "finish_reason": item.finish}])
                if body.get("stream_options", {}).get("include_usage"):
                    yield _event(choices=[], usage=_usage(item))
                continue
            yield _event(choices=[{"index": 0, "delta": {"content": item.text}, "finish_reason": None}])
            if body["model"] == "breaks":
                yield _line({"error": {"message": "The server had an error while it answered"}})
                return
    except EngineFailed as error:
        yield _line({"error": {"message": str(error)}})
        return
    yield b"data: [DONE]\n\n"


def _prompt(body: Mapping[str, Any]) -> Prompt:
    return Prompt(
        turns=tuple(Turn(message["role"], message["content"]) for message in body["messages"]),
        schema=body.get("response_format", {}).get("json_schema", {}).get("schema"),
        max_tokens=body.get("max_tokens", 64),
        stop=tuple(body.get("stop", ())),
        temperature=body.get("temperature", 1.0),
        seed=body.get("seed", 0),
    )


def _usage(completion: Completion) -> dict[str, int]:
    read, written = completion.prompt_tokens, completion.output_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _event(**values: Any) -> bytes:
    return _line({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "smollm2", **values})


def _line(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        assert sockets
        print(f"listening on {sockets[0].getsockname()[1]}", flush=True)


async def main() -> None:
    """Serves until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    engine = TransformersEngine(TransformersSettings(path=parser.parse_args().model, name="smollm2", wait_ms=0))
    await engine.load()
    listener = socket.create_server(("127.0.0.1", 0))
    await _Server(uvicorn.Config(app(engine), log_level="warning")).serve([listener])
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
