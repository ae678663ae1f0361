"""The team as a model, asked by OpenAI's own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from harness.gateway import Door, open_door, team, until
from harness.instant import InstantEngine
from harness.nats_server import NatsServer


@asynccontextmanager
async def asking(nats: NatsServer, folder: Path, **house: Any) -> AsyncIterator[tuple[Door, openai.AsyncOpenAI]]:
    async with (
        open_door(nats, team=team(folder), **house) as door,
        openai.AsyncOpenAI(base_url=f"{door.address}/v1", api_key="none", max_retries=0) as client,
    ):
        yield door, client


def said(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": "You are a painter."}, {"role": "user", "content": text}]


async def test_the_models_are_the_team_and_each_specialist_alone(nats: NatsServer, tmp_path: Path) -> None:
    async with asking(nats, tmp_path) as (_, client):
        models = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("house/red")

    assert ["house", "house/red", "house/green", "house/blue", "house/mixer"] == models
    assert ("house/red", "metier") == (one.id, one.owned_by)


async def test_the_team_completes(nats: NatsServer, tmp_path: Path) -> None:
    async with asking(nats, tmp_path) as (_, client):
        completion = await client.chat.completions.create(model="house", messages=said("red and green"))

    assert "red did 'red and green'\n\ngreen did 'red and green'" == completion.choices[0].message.content
    assert "stop" == completion.choices[0].finish_reason
    assert completion.usage
    assert completion.usage.prompt_tokens + completion.usage.completion_tokens == completion.usage.total_tokens > 0


async def test_one_specialist_completes_alone(nats: NatsServer, tmp_path: Path) -> None:
    async with asking(nats, tmp_path) as (_, client):
        completion = await client.chat.completions.create(model="house/blue", messages=said("red and green"))

    assert "blue did 'red and green'" == completion.choices[0].message.content


async def test_a_large_models_words_stream_as_they_come(nats: NatsServer, tmp_path: Path) -> None:
    async with asking(nats, tmp_path, large=InstantEngine("Because it is.")) as (_, client):
        stream = await client.chat.completions.create(
            model="house", messages=said("why is it red?"), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("Because it is.\n\nNo large model is configured")
    assert "assistant" == chunks[0].choices[0].delta.role
    assert "stop" == chunks[-2].choices[0].finish_reason
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens == 4


async def test_what_specialists_found_streams_too(nats: NatsServer, tmp_path: Path) -> None:
    async with asking(nats, tmp_path) as (_, client):
        stream = await client.chat.completions.create(model="house", messages=said("red"), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert "red did 'red'" == text


async def test_a_question_of_the_team_is_answered_by_the_next_message(nats: NatsServer, tmp_path: Path) -> None:
    async with asking(nats, tmp_path) as (door, client):
        door.house.tools["red"].asks = "scarlet"
        talk = said("red")
        question = (await client.chat.completions.create(model="house", messages=talk)).choices[0].message.content
        assert question
        talk.append({"role": "assistant", "content": question})
        talk.append({"role": "user", "content": "scarlet"})
        done = await client.chat.completions.create(model="house", messages=talk)
        again = await client.chat.completions.create(model="house", messages=talk)

    assert question.startswith("red needs to know: scarlet.\n\nReply to continue task ")
    assert "red did 'red\\nscarlet'" == done.choices[0].message.content == again.choices[0].message.content
    assert done.id == again.id
    assert 1 == door.house.tools["red"].ran


async def test_what_the_client_gets_wrong_is_its_own_error(nats: NatsServer, tmp_path: Path) -> None:
    async with asking(nats, tmp_path) as (_, client):
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await client.chat.completions.create(model="house/purple", messages=said("red"))
        with pytest.raises(openai.BadRequestError, match="'n'") as refused:
            await client.chat.completions.create(model="house", messages=said("red"), n=2)
        with pytest.raises(openai.UnprocessableEntityError):
            await client.chat.completions.create(model="house", messages=said(" "))
        image: Any = [{"type": "image_url", "image_url": {"url": "data:,"}}]
        with pytest.raises(openai.BadRequestError, match="image_url"):
            await client.chat.completions.create(model="house", messages=[{"role": "user", "content": image}])

    assert ("unsupported_parameter", "invalid_request_error") == (refused.value.code, refused.value.type)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_the_work(nats: NatsServer, tmp_path: Path, stream: bool) -> None:
    async with asking(nats, tmp_path, red=InstantEngine({}, pause_s=60)) as (door, client):
        bus, red = door.house.bus, door.house.consumers["red"]

        async def ask() -> None:
            reply: Any = await client.chat.completions.create(model="house", messages=said("red"), stream=stream)
            async for _ in reply:
                pass

        asked = asyncio.create_task(ask())
        await until(partial(bus.lag, red), lambda lag: lag.in_flight == 1)
        asked.cancel()
        lag = await until(partial(bus.lag, red), lambda lag: lag.in_flight == 0)

    assert 0 == lag.waiting
    assert 0 == door.house.tools["red"].ran
