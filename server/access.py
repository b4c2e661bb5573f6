"""Who may see which dataset: keys, signed path prefixes, and the verdict on a request.

A public dataset needs nothing. A private one needs a key that opens it, given as ``Authorization: Bearer KEY``, ``X-API-Key: KEY``,
``?token=KEY`` (CesiumJS passes it on to every child), or as a signed prefix ``/s/{expires}.{key id}.{signature}/tiles/{dataset}/…``, which
relative links inherit in every client.

Nobody learns by asking whether a private dataset exists: a caller without a valid key gets the same 401, with a hint, for a private
dataset and for one that does not exist, and a caller whose key does not open it gets the same 403 for both. Only where a server has
nothing private at all, or to a key that opens everything, is a missing dataset a plain 404.

``keys.json`` in the workspace (readable by its owner only) holds of each key a hash, never the key. The hash is plain blake2b-256: a key
is 256 random bits, so there is nothing to guess that a slow hash (scrypt, argon2: made for passwords) would protect, and a fast one costs
a microsecond per request. The signing secret of a key must be known to check a signature, so it lies there in the clear: whoever reads
``keys.json`` can make links, but cannot learn a key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tim.errors import AccessError, UsageError, WorkspaceError

EVERYTHING = "*"
"""In a key's datasets: all of them, also those to come."""
VERSION = 1
REMEMBERED = 4096
"""Positive verdicts kept. Refusals are not: guessing must not push out what is in use."""
_LINK = re.compile(r"([1-9]\d{0,11})\.([a-z0-9]{8})\.([A-Za-z0-9_-]{43})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """What is stored of a key."""

    id: str
    """Eight letters and digits; not secret."""
    name: str
    """Whose it is; for people."""
    hash: str
    """blake2b-256 hex of the whole key."""
    signing: str
    """Secret of its signed prefixes, 256 bits in hex."""
    datasets: tuple[str, ...]
    """Slugs, or :data:`EVERYTHING`."""
    expires: int | None
    """Unix seconds; ``None`` never."""
    edit: bool = False
    """Whether its holder may change what is served."""

    def opens(self, dataset: str) -> bool:
        """Whether the key is for this dataset."""
        return dataset in self.datasets or EVERYTHING in self.datasets


class Keys:
    """The keys of a workspace, in its ``keys.json``."""

    def __init__(self, workspace: Path) -> None:
        """workspace: the folder."""
        self.path = workspace / "keys.json"

    def create(
        self, name: str, datasets: Sequence[str] | None = None, days: float | None = None, *, edit: bool = False
    ) -> str:
        """Make a key and return it; it is seen only here. ``datasets``: slugs, ``None`` for all; ``days``: how long it holds.

        Raises UsageError ``access.name-taken``, WorkspaceError.
        """
        keys = self.load()
        if any(key.name == name for key in keys):
            raise UsageError("access.name-taken", name=name)
        key_id = secrets.token_hex(4)
        secret = f"tim_{key_id}_{secrets.token_urlsafe(32)}"
        allowed = tuple(sorted(set(datasets))) if datasets is not None else (EVERYTHING,)
        self._store([*keys, Key(key_id, name, _hash(secret), secrets.token_hex(32), allowed, _in(days), edit)])
        return secret

    def revoke(self, name: str) -> None:
        """Take a key and its signed prefixes out of use. Raises UsageError ``access.no-key``."""
        gone = self._named(name)
        self._store([key for key in self.load() if key != gone])

    def sign(self, name: str, dataset: str, days: float = 7) -> str:
        """A signed prefix by the key of this name: see :func:`sign_prefix`. Raises UsageError ``access.no-key``, AccessError."""
        return sign_prefix(self._named(name), dataset, _in(days) or 0)

    def records(self) -> list[dict[str, Any]]:
        """What may be shown of each key: ``name``, ``id``, ``datasets``, ``expires`` (ISO 8601 or ``None``), ``edit``."""
        return [
            {
                "name": key.name,
                "id": key.id,
                "datasets": list(key.datasets),
                "expires": None if key.expires is None else _iso(key.expires),
                "edit": key.edit,
            }
            for key in self.load()
        ]

    def load(self) -> list[Key]:
        """All keys; none where there is no file. Raises WorkspaceError where it cannot be read."""
        try:
            document = json.loads(self.path.read_text(encoding="utf-8"))
            if document["version"] != VERSION:
                raise WorkspaceError("access.keys-version", path=str(self.path), version=str(document["version"]))
            return [_key(record) for record in document["keys"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkspaceError("access.keys-unreadable", path=str(self.path), reason=str(error)) from error

    def _named(self, name: str) -> Key:
        keys = self.load()
        found = next((key for key in keys if key.name == name), None)
        if found is None:
            raise UsageError("access.no-key", name=name, known=", ".join(key.name for key in keys) or "-")
        return found

    def _store(self, keys: list[Key]) -> None:
        document = {"version": VERSION, "keys": [asdict(key) for key in keys]}
        part = self.path.with_name(f".keys.{os.getpid()}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise WorkspaceError("access.keys-unwritable", path=str(self.path), reason=error.strerror or "") from error


def sign_prefix(key: Key, dataset: str, expires: int) -> str:
    """``s/{expires}.{key id}.{signature}``: before ``/tiles/{dataset}/…`` it opens this one dataset until ``expires`` (Unix seconds).

    HMAC-SHA256 (RFC 2104) by the key's signing secret over expiry and dataset. It dies with the key.
    Raises AccessError where the key itself does not open the dataset.
    """
    if not key.opens(dataset):
        raise AccessError("access.not-allowed", dataset=dataset)
    if key.expires is not None:
        expires = min(expires, key.expires)
    return f"s/{expires}.{key.id}.{_signature(key, dataset, expires)}"


class Guard:
    """The verdict on requests, from the keys as last loaded. Not blocking; used from one event loop (and read-only from its threads)."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._verdicts: dict[tuple[str, str], float] = {}
        self.replace(keys)

    def replace(self, keys: Sequence[Key]) -> None:
        """Take the keys as they are now and forget all verdicts."""
        self._by_hash = {key.hash: key for key in keys}
        self._by_id = {key.id: key for key in keys}
        self._verdicts = {}

    @property
    def any(self) -> bool:
        """Whether there is any key."""
        return bool(self._by_id)

    def check(self, dataset: str, secret: str | None, link: str | None) -> None:
        """Raise AccessError unless the key, or the signed prefix (without ``s/``), opens this dataset."""
        given = link if link is not None else secret
        if given is None:
            raise AccessError("access.key-needed", dataset=dataset)
        seen = (given, dataset)
        verdicts = self._verdicts
        deadline = verdicts.get(seen)
        if deadline is None:
            deadline = self._link(link, dataset) if link is not None else self._key(given, dataset)
            if len(verdicts) >= REMEMBERED:
                verdicts.clear()
            verdicts[seen] = deadline
        if deadline <= time.time():
            raise AccessError("access.key-expired")

    def edits(self, secret: str) -> bool:
        """Whether this is a valid key for editing."""
        key = self._by_hash.get(_hash(secret))
        return key is not None and key.edit and (key.expires is None or key.expires > time.time())

    def name(self, secret: str) -> str:
        """Whose key it is; empty where it is none."""
        key = self._by_hash.get(_hash(secret))
        return "" if key is None else key.name

    def visible(self, dataset: str, secret: str | None) -> bool:
        """Whether a listing for this caller shows a private dataset."""
        try:
            self.check(dataset, secret, None)
        except AccessError:
            return False
        return True

    def _key(self, secret: str, dataset: str) -> float:
        key = self._by_hash.get(_hash(secret))
        if key is None:
            raise AccessError("access.key-invalid")
        deadline = float("inf") if key.expires is None else float(key.expires)
        if deadline > time.time() and not key.opens(dataset):
            raise AccessError("access.not-allowed", dataset=dataset)
        return deadline

    def _link(self, link: str, dataset: str) -> float:
        match = _LINK.fullmatch(link)
        key = self._by_id.get(match[2]) if match else None
        if match is None or key is None:
            raise AccessError("access.link-invalid")
        expires = int(match[1])
        if not hmac.compare_digest(_signature(key, dataset, expires), match[3]) or not key.opens(dataset):
            raise AccessError("access.link-invalid")
        return float(expires if key.expires is None else min(expires, key.expires))


def _signature(key: Key, dataset: str, expires: int) -> str:
    digest = hmac.digest(bytes.fromhex(key.signing), f"tim-prefix-1\n{expires}\n{dataset}".encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _hash(secret: str) -> str:
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def _in(days: float | None) -> int | None:
    return None if days is None else int(time.time() + days * 86400)


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _key(record: dict[str, Any]) -> Key:
    return replace(Key(**record), datasets=tuple(record["datasets"]))
