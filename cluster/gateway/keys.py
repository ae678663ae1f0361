"""API keys: who asks, as which tenant.

A file, or $METIER_KEYS, has a line for each key: the SHA-256 of the key, its tenant, and if it ends, the day:

    # lines that begin with a number sign are passed over
    sha256:5e88…  acme
    sha256:9f86…  acme  until=2027-06-30

A key is 256 random bits, so its plain hash tells nobody anything; the key itself is stored nowhere.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import secrets
import time
from ipaddress import ip_address
from pathlib import Path

import msgspec

from metier.topics.errors import InvalidInput
from metier.topics.subjects import token

VARIABLE = "METIER_KEYS"
#: Tenant of all where there are no keys.
DEFAULT_TENANT = "default"
#: A changed file is read again within this time.
FRESH_S = 1.0

_PREFIX = "metier_"
_LINE = re.compile(r"sha256:(?P<digest>[0-9a-f]{64})\s+(?P<tenant>\S+)(?:\s+until=(?P<until>\S+))?")


class Key(msgspec.Struct, frozen=True):
    """What is known of a key."""

    tenant: str
    #: The last day it is good for, in UTC.
    until: dt.date | None = None


class Keys:
    """All keys, by digest. A file is followed as it changes: adding and revoking keys needs no restart."""

    def __init__(self, path: str | Path | None = None) -> None:
        self._path = Path(path) if path else None
        self._keys: dict[str, Key] = {}
        self._looked_at = 0.0
        self._version: tuple[int, int] | None = None
        if self._path is None:
            self._keys = parse(os.environ.get(VARIABLE, ""), f"${VARIABLE}")
        else:
            self._look(self._path)

    @property
    def required(self) -> bool:
        """Whether a request needs a key. Naming a file says so, even an empty one."""
        return self._path is not None or bool(self._keys)

    def tenant(self, key: str) -> str | None:
        """Whose key it is; None if it is nobody's, or no longer good."""
        if self._path is not None and time.monotonic() - self._looked_at > FRESH_S:
            self._look(self._path)
        found = self._keys.get(digest(key))
        if found is None or (found.until and dt.datetime.now(dt.UTC).date() > found.until):
            return None
        return found.tenant

    def _look(self, path: Path) -> None:
        """Reads the file if it changed. Raises InvalidInput if it cannot be read, or says something else."""
        self._looked_at = time.monotonic()
        try:
            status = path.stat()
            version = (status.st_mtime_ns, status.st_size)
            if version != self._version:
                self._keys = parse(path.read_text(), str(path))
                self._version = version
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(reason=f"the API keys in {path} cannot be read: {error}") from error


def parse(text: str, place: str) -> dict[str, Key]:
    """Keys by digest. Raises InvalidInput with the line; it never quotes it, a key may stand there by mistake."""
    found: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise InvalidInput(reason=f"{place}, line {number}: write 'sha256:HASH TENANT', and 'until=YYYY-MM-DD'")
        try:
            until = dt.date.fromisoformat(match["until"]) if match["until"] else None
        except ValueError as error:
            raise InvalidInput(reason=f"{place}, line {number}: {error}") from None
        found[match["digest"]] = Key(token(match["tenant"], "tenant"), until)
    return found


def digest(key: str) -> str:
    """How a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


def new(tenant: str, until: dt.date | None = None) -> tuple[str, str]:
    """A new key, to be given to who asks, and its line, to be stored."""
    key = _PREFIX + secrets.token_urlsafe(32)
    line = f"sha256:{digest(key)}  {token(tenant, 'tenant')}"
    return key, f"{line}  until={until}" if until else line


def check_open(host: str, keys: Keys) -> None:
    """Raises InvalidInput for a door that the network would find without a lock."""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not (local or keys.required):
        raise InvalidInput(
            reason=f"{host} is open to the network: give API keys (a file, or ${VARIABLE}), or listen on 127.0.0.1"
        )
