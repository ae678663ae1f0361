"""The openai engine against an OpenAI-compatible server process: the protocol, and every way it can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from harness.openai_server import serving
from metier.actors.engines.base import Completion, Piece, Prompt, Turn, complete
from metier.actors.engines.openai import OpenAIEngine, OpenAISettings
from metier.topics.errors import EngineFailed

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = Prompt(turns=(Turn("user", "Name the capital of France."),), max_tokens=4)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(slm: Path) -> AsyncIterator[str]:
    async with serving(slm) as url:
        yield url


async def engine(url: str, model: str = "smollm2") -> OpenAIEngine:
    engine = OpenAIEngine(OpenAISettings(base_url=url, model=model, api_key_env="TEST_KEY", timeout_s=30))
    await engine.load()
    return engine


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "secret")


async def test_the_answer_streams_and_its_tokens_are_those_the_endpoint_counted(url: str) -> None:
    large = await engine(url)
    items = [item async for item in large.stream(HELLO)]
    completion = items[-1]
    assert isinstance(completion, Completion)
    assert completion.text == "".join(item.text for item in items if isinstance(item, Piece))
    assert "capital" in completion.text
    assert (4, "length", False) == (completion.output_tokens, completion.finish, large.stand_in)
    assert completion.prompt_tokens > 8
    await large.close()


async def test_a_schema_reaches_the_endpoint(url: str) -> None:
    large = await engine(url)
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Lyon"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    completion = await complete(large, msgspec.structs.replace(HELLO, schema=schema, max_tokens=20))
    assert "stop" == completion.finish
    assert msgspec.json.decode(completion.text)["city"] in ("Paris", "Lyon")
    await large.close()


async def test_closing_the_stream_frees_its_place(url: str) -> None:
    large = OpenAIEngine(OpenAISettings(base_url=url, model="smollm2", api_key_env="TEST_KEY", max_concurrency=1))
    await large.load()
    stream = large.stream(msgspec.structs.replace(HELLO, max_tokens=2000))
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        assert "length" == (await complete(large, HELLO)).finish
    await large.close()


async def test_an_endpoint_that_answers_is_healthy(url: str) -> None:
    large = await engine(url)
    await large.health()
    await large.close()


async def test_a_wrong_key_fails_in_the_words_of_the_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "wrong")
    large = await engine(url)
    with pytest.raises(EngineFailed, match="HTTP 401: Incorrect API key provided"):
        await large.health()
    with pytest.raises(EngineFailed, match="HTTP 401: Incorrect API key provided"):
        await complete(large, HELLO)
    await large.close()


async def test_an_unknown_model_fails_in_the_words_of_the_endpoint(url: str) -> None:
    large = await engine(url, model="gigantic")
    with pytest.raises(EngineFailed, match="HTTP 404: The model `gigantic` does not exist"):
        await complete(large, HELLO)
    await large.close()


async def test_an_answer_that_breaks_off_is_a_failure(url: str) -> None:
    large = await engine(url, model="breaks")
    with pytest.raises(EngineFailed, match="The server had an error while it answered"):
        await complete(large, HELLO)
    await large.close()


async def test_an_endpoint_that_is_not_there_is_named() -> None:
    large = await engine("http://127.0.0.1:9/v1")
    with pytest.raises(EngineFailed, match=r"http://127\.0\.0\.1:9/v1"):
        await complete(large, HELLO)
    await large.close()


async def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_KEY")
    with pytest.raises(EngineFailed, match="the environment variable TEST_KEY, its key, is not set"):
        await engine("http://127.0.0.1:9/v1")
