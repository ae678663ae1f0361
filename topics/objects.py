"""Payloads too large for one message, in a JetStream object store.

Source: NATS architecture decision record 20. Any NATS client can read what is stored here, by the name in the header.
"""

from __future__ import annotations

import base64
import hashlib
import logging

import msgspec

from .errors import Unavailable
from .inbox import Inbox
from .replay import Replay, stored
from .wire import MESSAGE_ID, REFERENCE, Connection, Message, Reply

_log = logging.getLogger(__name__)

_CHUNK_BYTES = 128 * 1024

_reply = msgspec.json.Decoder(Reply)


class _Object(msgspec.Struct, frozen=True):
    name: str
    bucket: str
    nuid: str
    size: int
    chunks: int
    digest: str


class Objects:
    """One bucket of objects. The bucket itself is made by `JetStreamBus.ensure`."""

    def __init__(self, connection: Connection, inbox: Inbox, bucket: str) -> None:
        self._connection = connection
        self._inbox = inbox
        self._bucket = bucket

    async def fitting(self, payload: bytes, headers: dict[str, str], limit_bytes: int) -> bytes:
        """The payload, or nothing and a reference in the headers if it is over the limit."""
        if len(payload) <= limit_bytes:
            return payload
        headers[REFERENCE] = await self.put(payload)
        return b""

    async def put(self, payload: bytes) -> str:
        """Stores a payload under a new name. Raises Unavailable or BusUnavailable."""
        name = self._inbox.unique().replace(".", "-")
        chunks = range(0, len(payload), _CHUNK_BYTES)
        for start in chunks:
            await self._store(f"C.{name}", payload[start : start + _CHUNK_BYTES], {MESSAGE_ID: f"{name}-{start}"})
        described = _Object(name, self._bucket, name, len(payload), len(chunks), _digest(payload))
        await self._store(f"M.{_encoded(name)}", msgspec.json.encode(described), {MESSAGE_ID: name})
        return name

    async def payload(self, message: Message) -> bytes:
        """What a message refers to; empty, and logged, if the bucket no longer has it.

        Raises Unavailable or BusUnavailable.
        """
        name = (message.headers or {})[REFERENCE]
        stream = f"OBJ_{self._bucket}"
        last = {"last_by_subj": f"$O.{self._bucket}.M.{_encoded(name)}"}
        found = await stored(self._inbox, stream, last, self.payload)
        if found is None:
            _log.error("%s: its payload %s is no longer in bucket %s", message.subject, name, self._bucket)
            return b""
        described = msgspec.json.decode(found.payload, type=_Object)
        payload = bytearray()
        replay = Replay(self._connection, self._inbox, stream, f"$O.{self._bucket}.C.{described.nuid}", 0, self.payload)
        await replay.open()
        try:
            while len(payload) < described.size:
                payload += (await anext(replay)).payload
        finally:
            await replay.close()
        if _digest(payload) != described.digest:
            raise Unavailable(what=f"Object {name} of bucket {self._bucket}", reason="its digest is wrong")
        return bytes(payload)

    async def _store(self, tail: str, data: bytes, headers: dict[str, str]) -> None:
        reply = _reply.decode((await self._inbox.ask(f"$O.{self._bucket}.{tail}", data, headers)).data)
        if reply.error is not None:
            raise Unavailable(what=f"Bucket {self._bucket}", reason=reply.error.description)


def _digest(payload: bytes | bytearray) -> str:
    return f"SHA-256={base64.urlsafe_b64encode(hashlib.sha256(payload).digest()).decode()}"


def _encoded(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()
