"""The OpenAPI document, and what a fuzzer that reads it can do to the door."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from harness.gateway import open_door, team
from harness.nats_server import NatsServer
from metier.cluster.gateway.app import OPERATIONS
from metier.cluster.gateway.settings import Gateway, Limits


async def test_the_document_has_every_operation(nats: NatsServer) -> None:
    async with open_door(nats) as door:
        document = (await door.http.get("/openapi.json")).json()

    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert {(one.method, one.path.replace(":path}", "}")) for one in OPERATIONS} <= described
    assert "3.1.0" == document["openapi"]
    assert {"text", "class", "specialists"} <= set(document["components"]["schemas"]["TaskBody"]["properties"])


async def test_schemathesis_finds_no_server_error_and_no_answer_that_is_not_in_the_document(
    nats: NatsServer, tmp_path: Path
) -> None:
    settings = Gateway(port=0, limits=Limits(wait_s=0.05))
    async with open_door(nats, settings, team(tmp_path)) as door:
        process = await asyncio.create_subprocess_exec(
            *(Path(sys.executable).with_name("schemathesis"), "run", f"{door.address}/openapi.json"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "5", "--seed", "7", "--no-color"),
            *("--checks", "not_a_server_error,status_code_conformance,content_type_conformance"),
            *("--checks", "response_schema_conformance", "--request-timeout", "20"),
            # Streams that never end would each be read until the time is up.
            *("--exclude-path-regex", "^/v1/(team|activity)/events"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=tmp_path,
        )
        try:
            async with asyncio.timeout(120):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    assert 0 == process.returncode, said.decode()
