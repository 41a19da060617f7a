"""What a device sends to headquarters, the same over HTTPS and NATS. Pure: bytes in, values out.

Up go messages: pieces of the journal and, at the end, a call that asks which of them headquarters holds. Down comes
one answer to each call (edge.offline.sync_answer). Both travel in a frame (edge.offline.sync_frame).

 - A piece is an entry's raw line, or a part of one of its sealed records; its id names the entry's hash, so nothing
   can be acknowledged by number alone.
 - A device is called by its key: its id is the SHA-256 of its public key, so nobody can write in another's name.
 - A call has a nonce and the journal's head, and brings the key for which the answer's notes are sealed.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from devices.errors import MessageError
from edge.journal.entry import signed_bytes
from edge.offline.sync_frame import MALFORMED, pack_frame, unpack_frame
from edge.offline.sync_voucher import Voucher

PART_BYTES = 128 * 1024  # of a record: half a minute at 35 kbit/s, so a line that is cut every 30 s still brings it
MESSAGE_MAX_BYTES = 16 * 1024 * 1024  # unpacked

_SCHEMA = 1
_NONCE = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MOST = 10**15  # what a number of an entry or a note is below; SQLite holds 64 bits
_ID = re.compile(r"\d{1,15}:[0-9a-f]{64}(:[a-z0-9_/-]{1,40}:\d{1,9})?", re.ASCII)
_SENT = b"edgekit sync 1\n"  # before what a device signs, so that no message passes for an entry


class Signer(Protocol):
    """A device's keys, as ``edge.journal.keys.DeviceKeys`` has them."""

    @property
    def public_bytes(self) -> bytes:
        """32 bytes."""

    def sign(self, digest: str) -> bytes:
        """The signature of what has this SHA-256, 64 bytes."""


@dataclass(frozen=True)
class Piece:
    """What is sent and acknowledged as one.

    Attributes:
        seq: Of the entry.
        hash: Of the entry, hexadecimal.
        name: Of the record; empty for the entry's own line.
        part: Which part of the record, from 0.
        parts: How many there are.
        data: The device's signature of the entry, 64 bytes, and the raw line after it; or the sealed part.
    """

    seq: int
    hash: str
    name: str
    part: int
    parts: int
    data: bytes

    @property
    def id(self) -> str:
        """``SEQ:HASH``, or ``SEQ:HASH:NAME:PART``."""
        return f"{self.seq}:{self.hash}" + (f":{self.name}:{self.part}" if self.name else "")


@dataclass(frozen=True)
class Call:
    """A device asks: which of these do you hold, and what have you to tell me?

    Attributes:
        nonce: 32 hexadecimal characters, drawn anew for each call.
        time: The device's, ISO 8601.
        head_seq: Of the journal's newest entry.
        head_hash: Its hash.
        answers_after: Number of the last answer that the device has journaled.
        pieces: Ids of what is asked about.
        notes_for: X25519 key for which the answer's notes are sealed, hexadecimal.
    """

    nonce: str
    time: str
    head_seq: int
    head_hash: str
    answers_after: int
    pieces: tuple[str, ...]
    notes_for: str

    @classmethod
    def make(
        cls, now: datetime, head: tuple[int, str], answers_after: int, pieces: Sequence[Piece], key: X25519PublicKey
    ) -> Self:
        """A call with a new nonce; ``key`` is the public half of the one that opens the notes of its answer."""
        ids = tuple(piece.id for piece in pieces)
        return cls(secrets.token_hex(16), now.isoformat(), *head, answers_after, ids, key.public_bytes_raw().hex())


@dataclass(frozen=True)
class Message:
    """What one device sent, its signature checked.

    Attributes:
        device: Its id, made from its key.
        name: What its owner calls it, for people.
        public_key: Hexadecimal.
        call: None where an answer is not expected yet.
        pieces: In the order in which they were sent.
        voucher: By which its certificate speaks for its key; with a call only, None where it has no certificate.
        taken: When a broker of the bank took it; None if it came straight.
    """

    device: str
    name: str
    public_key: str
    call: Call | None
    pieces: tuple[Piece, ...]
    voucher: Voucher | None = None
    taken: datetime | None = None


def device_id(public_key: bytes) -> str:
    """How a device is called: the first half of the SHA-256 of its raw public key, hexadecimal."""
    return hashlib.sha256(public_key).hexdigest()[:32]


def pack_message(
    keys: Signer,
    name: str,
    pieces: Sequence[Piece],
    call: Call | None,
    *,
    vouch: Callable[[], Voucher | None] = lambda: None,
) -> bytes:
    """Sign and compress what a device sends; ``name`` is for people, ``vouch`` is asked for calls."""
    voucher = vouch() if call else None
    header = {
        "schema": _SCHEMA,
        "name": name,
        "key": keys.public_bytes.hex(),
        "call": asdict(call) if call else None,
        "voucher": asdict(voucher) if voucher else None,
        "pieces": [
            {"seq": p.seq, "hash": p.hash, "name": p.name, "part": p.part, "parts": p.parts, "size": len(p.data)}
            for p in pieces
        ],
    }
    body = json.dumps(header, ensure_ascii=False).encode() + b"\n" + b"".join(piece.data for piece in pieces)
    return pack_frame(keys.sign(_digest(body)), body)


def unpack_message(data: bytes) -> Message:
    """Read what a device sent and check its signature.

    Raises:
        MessageError: It is not one, is too large, or was changed on the way.
    """
    try:
        signature, body = unpack_frame(data, MESSAGE_MAX_BYTES)
        line, _, blobs = body.partition(b"\n")
        header = json.loads(line)
        public_key = bytes.fromhex(header["key"])
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed_bytes(_digest(body)))
        call, voucher = header["call"], header.get("voucher")
        pieces = _pieces(header["pieces"], blobs)
        return Message(
            device_id(public_key),
            "".join(filter(str.isprintable, str(header["name"])[:64])),
            public_key.hex(),
            _call(call) if call else None,
            pieces,
            Voucher(str(voucher["chain"]), str(voucher["signature"])) if voucher else None,
        )
    except InvalidSignature as error:
        raise MessageError("The message's signature does not fit its key.") from error
    except MALFORMED as error:
        raise MessageError(f"This is no message of a device: {error}.") from error


def _call(document: Mapping[str, Any]) -> Call:
    pieces = tuple(map(str, document["pieces"]))
    if not all(map(_ID.fullmatch, pieces)):
        raise ValueError("it asks about what is no piece")
    call = Call(
        nonce=str(document["nonce"]),
        time=datetime.fromisoformat(document["time"]).astimezone(UTC).isoformat(),
        head_seq=int(document["head_seq"]),
        head_hash=str(document["head_hash"]),
        answers_after=int(document["answers_after"]),
        pieces=pieces,
        notes_for=str(document["notes_for"]),
    )
    # refuses a point from which no secret comes, before anything is sealed for it
    X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(call.notes_for)))
    if not _NONCE.fullmatch(call.nonce):  # it becomes a header of the answer
        raise ValueError("its nonce is none")
    if not _HASH.fullmatch(call.head_hash) or not 0 <= call.head_seq < _MOST or not 0 <= call.answers_after < _MOST:
        raise ValueError("it names a head or an answer that no journal has")
    return call


def _pieces(described: Sequence[Mapping[str, Any]], blobs: bytes) -> tuple[Piece, ...]:
    pieces, start = [], 0
    for each in described:
        end = start + int(each["size"])
        if end < start or end > len(blobs):
            raise ValueError("it ends within a piece")
        name, part, parts = str(each["name"]), int(each["part"]), int(each["parts"])
        piece = Piece(int(each["seq"]), str(each["hash"]), name, part, parts, blobs[start:end])
        if not _ID.fullmatch(piece.id) or not 0 <= part < parts:
            raise ValueError(f"{piece.id[:100]!r} is no piece")
        pieces.append(piece)
        start = end
    if start != len(blobs):
        raise ValueError("it goes on after its last piece")
    return tuple(pieces)


def _digest(body: bytes) -> str:
    return hashlib.sha256(_SENT + body).hexdigest()
