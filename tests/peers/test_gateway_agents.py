"""MCP and A2A as the gateway mounts them: for those with a key, each tenant apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx
import httpx2
import pytest
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.helpers import new_text_message
from a2a.types import a2a_pb2 as pb
from a2a.utils import errors
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from harness.gateway import client, gateway
from harness.served import served
from metier.cluster.gateway import keys
from metier.cluster.gateway.settings import Gateway


class Keyed(NamedTuple):
    address: str
    acme: dict[str, str]
    other: dict[str, str]


@pytest.fixture
async def keyed(tmp_path: Path) -> AsyncIterator[Keyed]:
    (acme, first), (other, second) = keys.new("acme"), keys.new("other")
    file = tmp_path / "keys"
    file.write_text(f"{first}\n{second}\n")
    async with (
        served(tmp_path) as team,
        gateway(team.server.url, Gateway(port=0, keys=str(file))) as address,
        client(address),
    ):
        yield Keyed(address, *({"Authorization": f"Bearer {key}"} for key in (acme, other)))


@pytest.mark.parametrize("path", ["/mcp", "/a2a"])
async def test_without_a_key_nobody_comes_in(keyed: Keyed, path: str) -> None:
    async with httpx2.AsyncClient(base_url=keyed.address) as http:
        reply = await http.post(path, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})

    assert 401 == reply.status_code
    assert "Bearer" == reply.headers["WWW-Authenticate"]


async def test_the_card_says_that_a_key_is_needed(keyed: Keyed) -> None:
    async with httpx.AsyncClient() as http:
        card = await A2ACardResolver(http, keyed.address).get_agent_card()

    assert "bearer" == card.security_schemes["key"].http_auth_security_scheme.scheme
    assert ["key"] == [name for one in card.security_requirements for name in one.schemes]


async def test_what_one_tenant_asked_another_does_not_find(keyed: Keyed) -> None:
    async with httpx.AsyncClient(headers=keyed.acme) as http, httpx.AsyncClient(headers=keyed.other) as stranger:
        card = await A2ACardResolver(http, keyed.address).get_agent_card()
        asking = ClientFactory(ClientConfig(httpx_client=http, streaming=False)).create(card)
        request = pb.SendMessageRequest(message=new_text_message("red", role=pb.ROLE_USER))
        (reply,) = [one async for one in asking.send_message(request)]
        found = pb.GetTaskRequest(id=reply.task.id)

        assert pb.TASK_STATE_COMPLETED == (await asking.get_task(found)).status.state
        with pytest.raises(errors.TaskNotFoundError):
            await ClientFactory(ClientConfig(httpx_client=stranger)).create(card).get_task(found)


async def test_a_key_opens_mcp_for_its_tenant(keyed: Keyed) -> None:
    async with (
        httpx2.AsyncClient(headers=keyed.acme) as http,
        Client(streamable_http_client(f"{keyed.address}/mcp", http_client=http)) as mcp,
    ):
        result = await mcp.call_tool("ask", {"text": "red"})

    assert result.structured_content is not None
    assert "acme" == result.structured_content["tenant"]
