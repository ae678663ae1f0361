"""Messages to bytes and back. JSON unless the content type says MessagePack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from . import messages
from .errors import InvalidMessage, UnknownVersion

M = TypeVar("M", bound=messages.Message)

CONTENT_TYPE = "Content-Type"
MSGPACK = "application/msgpack"

_json = msgspec.json.Encoder()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


class _Head(msgspec.Struct):
    """The part of any message that says what it is."""

    type: str = ""


def encode(message: messages.Message) -> bytes:
    """The message as compact JSON."""
    return _json.encode(message)


def decode(payload: bytes, kind: type[M], headers: Mapping[str, str] = {}) -> M:
    """The message of that kind in some bytes. Raises InvalidMessage or UnknownVersion with the place and the reason."""
    try:
        if headers.get(CONTENT_TYPE) == MSGPACK:
            return msgspec.msgpack.decode(payload, type=kind)
        decoder = _decoders.get(kind) or _decoders.setdefault(kind, msgspec.json.Decoder(kind))
        return decoder.decode(payload)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _explain(payload, headers, kind.kind, kind.version, error) from error


def decode_any(payload: bytes, kinds: tuple[type[messages.Message], ...], headers: Mapping[str, str]) -> Any:
    """The message of one of several kinds. Raises as `decode` does."""
    if len(kinds) == 1:
        return decode(payload, kinds[0], headers)
    try:
        if headers.get(CONTENT_TYPE) == MSGPACK:
            return msgspec.msgpack.decode(payload, type=_union(kinds))
        decoder = _decoders.get(kinds) or _decoders.setdefault(kinds, msgspec.json.Decoder(_union(kinds)))
        return decoder.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _explain(payload, headers, " or ".join(k.kind for k in kinds), kinds[0].version, error) from error


def _union(kinds: tuple[type[messages.Message], ...]) -> Any:
    union: Any = kinds[0]
    for kind in kinds[1:]:
        union = union | kind
    return union


def _explain(payload: bytes, headers: Mapping[str, str], kind: str, known: int, error: Exception) -> InvalidMessage:
    read = msgspec.msgpack.decode if headers.get(CONTENT_TYPE) == MSGPACK else msgspec.json.decode
    try:
        name, _, version = read(payload, type=_Head).type.partition("/")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return InvalidMessage(kind=kind, reason=f"{error}")
    if name in kind.split(" or ") and version and version != str(known):
        return UnknownVersion(kind=name, actual=version, known=known, reason="unknown version")
    return InvalidMessage(kind=kind, reason=f"{error}")
