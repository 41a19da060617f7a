"""One entry of the journal as bytes: what is hashed, what is signed, and how both are read back. Pure.

An entry is one line of canonical JSON (sorted keys, no spaces, UTF-8)::

    {"body":{...},"key":"HEX|null","kind":"decision","prev":"HEX","records":[{"name","sha256","size"}],"seq":7,
     "time":"2026-11-23T08:00:00.000000+00:00","v":1}

``prev`` is the SHA-256 of the line before; of the first line it is 64 zeros. ``records`` holds the SHA-256 of each
ciphertext, ``key`` that of the wrapped key which opens them (edge.journal.sealing). The device signs every line:
Ed25519 over ``edgekit journal 1``, a line break and the line's hash. So a chain that was computed anew shows at its
first line.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FORMAT = 1
NO_HASH = "0" * 64  # before the first entry
_SIGNED = b"edgekit journal 1\n"
_HEAD = b"edgekit journal head 1\n"
# Crockford's base 32: no I, L, O or U, so a code survives being read aloud (https://www.crockford.com/base32.html)
_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")


@dataclass(frozen=True)
class RecordRef:
    """What an entry says of one encrypted record: its name, the SHA-256 of its ciphertext, and the plain size."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        seq: From 1 on, without a gap.
        time: When it was appended, UTC.
        kind: ``genesis``, ``decision``, ``review``, ...
        body: What it says; no personal data.
        records: The encrypted records that belong to it; they may have been erased since.
        key: SHA-256 of the day and the wrapped key of the records; None without records.
        prev: Hash of the entry before.
        hash: SHA-256 of ``raw``.
        raw: The line that is hashed.
        signature: Ed25519 of the device, 64 bytes, over ``signed_bytes(hash)``.
    """

    seq: int
    time: datetime
    kind: str
    body: Mapping[str, Any]
    records: tuple[RecordRef, ...]
    key: str | None
    prev: str
    hash: str
    raw: bytes
    signature: bytes

    @property
    def code(self) -> str:
        """For people and paper: the number, and 40 bits of the hash."""
        return code_of(self.seq, self.hash)


@dataclass(frozen=True)
class Head:
    """The last entry of a journal: what headquarters acknowledges and an auditor compares.

    Attributes:
        seq: Its number.
        hash: Its hash, which stands for everything before it.
        signature: The device's signature of it, 64 bytes.
    """

    seq: int
    hash: str
    signature: bytes = b""

    @property
    def code(self) -> str:
        """For people and paper, as ``1042-7F3KQ9TD``."""
        return code_of(self.seq, self.hash)


def code_of(seq: int, digest: str) -> str:
    """The short code of an entry: its number and the first 40 bits of its hash in Crockford's base 32."""
    return f"{seq}-{b32encode(bytes.fromhex(digest)[:5]).translate(_CROCKFORD).decode()}"


def signed_bytes(digest: str) -> bytes:
    """What the device signs for the entry with this hash."""
    return _SIGNED + bytes.fromhex(digest)


def head_bytes(seq: int, digest: str) -> bytes:
    """What the device signs for a head; another text than for an entry, so that no entry can be passed off as one."""
    return _HEAD + seq.to_bytes(8, "big") + bytes.fromhex(digest)


def line_of(
    seq: int,
    time: datetime,
    kind: str,
    body: Mapping[str, Any],
    *,
    prev: str,
    records: Sequence[RecordRef] = (),
    key: str | None = None,
) -> bytes:
    """The canonical line of an entry.

    Raises:
        ValueError: The time has no zone, or the body is not JSON: a key that is no text, NaN, a lone surrogate.
    """
    if time.tzinfo is None:
        raise ValueError("an entry's time needs a zone")
    document = {
        "v": FORMAT,
        "seq": seq,
        "time": time.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": kind,
        "body": body,
        "records": [vars(record) for record in records],
        "key": key,
        "prev": prev,
    }
    try:
        return canonical(document)
    except TypeError as error:
        raise ValueError(f"the body of a {kind} is not JSON: {error}") from error


def canonical(document: Mapping[str, Any]) -> bytes:
    """Canonical JSON of ``document``; the same document gives the same bytes everywhere."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode("utf-8")


def parse(raw: bytes, signature: bytes) -> Entry:
    """Read a line back.

    Raises:
        ValueError: It is no line of this format.
    """
    try:
        document = json.loads(raw)
        if document["v"] != FORMAT:
            raise ValueError(f"its format is {document['v']!r}, and this kit reads {FORMAT}")
        return Entry(
            seq=int(document["seq"]),
            time=datetime.fromisoformat(document["time"]),
            kind=str(document["kind"]),
            body=dict(document["body"]),
            records=tuple(RecordRef(str(r["name"]), str(r["sha256"]), int(r["size"])) for r in document["records"]),
            key=document["key"],
            prev=str(document["prev"]),
            hash=hashlib.sha256(raw).hexdigest(),
            raw=raw,
            signature=signature,
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is no entry: {type(error).__name__} at {error}") from error


def is_flagged(entry: Entry) -> bool:
    """Whether headquarters gets it before others: a decision that goes to a person, or of high risk."""
    return entry.kind == "decision" and (entry.body.get("decision") == "review" or entry.body.get("level") == "high")
