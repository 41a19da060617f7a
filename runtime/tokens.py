"""Tokens by which programs on other machines call, and persons review: made on the device, shown once, kept as SHA-256.

A token is 256 random bits. Its hash needs neither salt nor a slow function: nobody can try that many.
``tokens.json`` in the state directory, mode 0600, is
``{"tokens": {NAME: {"sha256": HEX, "created": ISO 8601, "role": ROLE}}}``; it is replaced as a whole, so a power cut
leaves the old one or the new one. A running server sees every change at the next request: a removed token stops
working at once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from devices.durable import locked, write_durably
from devices.errors import AccessError
from devices.state import ensure_state_dir, state_dir

_FILE = "tokens.json"
Role = Literal["caller", "reviewer"]
ROLES: tuple[Role, ...] = get_args(Role)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
RESERVED = frozenset({"headquarters"})  # a vote under this name would look like one from there


@dataclass(frozen=True)
class TokenEntry:
    """What is kept of one token.

    Attributes:
        sha256: Of its characters, hexadecimal.
        created: When it was made.
        role: A ``caller`` may score; a ``reviewer`` may also see the queue and decide.
    """

    sha256: str
    created: str
    role: Role = "caller"


class TokenFile:
    """The tokens of this device."""

    def __init__(self) -> None:
        self._path = state_dir() / _FILE
        self._seen: tuple[int, int, int] | None = None
        self._entries: dict[str, TokenEntry] = {}

    def entries(self) -> dict[str, TokenEntry]:
        """Every token by its name; empty where none was made.

        Raises:
            AccessError: The file cannot be read or is damaged.
        """
        try:
            document = json.loads(self._path.read_bytes())
            return {
                str(name): TokenEntry(
                    bytes.fromhex(entry["sha256"]).hex(),
                    str(entry["created"]),
                    ROLES[ROLES.index(entry.get("role", "caller"))],
                )
                for name, entry in document["tokens"].items()
            }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AccessError(f"{self._path} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AccessError(
                f"{self._path} is damaged: it is not the JSON that this kit writes.",
                remedy="Move the file away and make the tokens again with 'edgekit token add NAME'.",
            ) from error

    def add(self, name: str, role: Role = "caller") -> str:
        """Make a token called ``name`` for ``role``; returns it, for the only time.

        Raises:
            AccessError: The name is taken or not a name, or the file cannot be written.
        """
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise AccessError(
                f"{name!r} is not a name for a token.",
                remedy="Use up to 64 letters, digits, dots, hyphens and underscores, a letter or digit first, and no "
                "name that the journal uses for others: " + ", ".join(sorted(RESERVED)) + ".",
            )
        token = secrets.token_hex(32)
        with self._changing() as entries:
            if name in entries:
                raise AccessError(
                    f"There is a token {name!r} already, made {entries[name].created}.",
                    remedy="Choose another name, or remove the old one first; its holder loses access then.",
                )
            entries[name] = TokenEntry(_hash(token).hex(), datetime.now(UTC).isoformat(timespec="seconds"), role)
        return token

    def remove(self, name: str) -> None:
        """Forget a token: a running server refuses it from the next request on.

        Raises:
            AccessError: There is none of that name, or the file cannot be written.
        """
        with self._changing() as entries:
            if name not in entries:
                known = ", ".join(sorted(entries)) or "none"
                raise AccessError(f"There is no token {name!r}; known: {known}.", remedy="'edgekit token list' helps.")
            del entries[name]

    def find(self, token: str) -> tuple[str, Role] | None:
        """Name and role of ``token``; None if it was not made here or was removed since.

        Takes the same time for every wrong one.

        Raises:
            AccessError: The file cannot be read or is damaged.
        """
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return None
        if self._seen != (seen := (status.st_mtime_ns, status.st_size, status.st_ino)):
            self._entries = self.entries()
            self._seen = seen
        given = _hash(token).hex()
        # all of them: no early end tells which
        found = [
            (name, entry.role) for name, entry in self._entries.items() if hmac.compare_digest(given, entry.sha256)
        ]
        return found[0] if found else None

    @contextmanager
    def _changing(self) -> Iterator[dict[str, TokenEntry]]:
        """Read, let the caller change, write; two commands at once go one after the other."""
        with locked(ensure_state_dir()):
            entries = self.entries()
            yield entries
            self._write(entries)

    def _write(self, entries: dict[str, TokenEntry]) -> None:
        document = {"tokens": {name: vars(entry) for name, entry in sorted(entries.items())}}
        try:
            write_durably(self._path, json.dumps(document, indent=1).encode(), mode=0o600)
        except OSError as error:
            raise AccessError(f"{self._path} cannot be written: {error.strerror}.") from error


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
