"""Frames, signatures and sealed papers: nothing that was changed, moved or sent again counts."""

from __future__ import annotations

import hashlib
import json
import math
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.errors import AcknowledgementError, MessageError
from edge.journal.keys import DeviceKeys
from edge.offline.sync_answer import pack_answer, unpack_answer
from edge.offline.sync_message import (
    MESSAGE_MAX_BYTES,
    PART_BYTES,
    Call,
    Piece,
    device_id,
    pack_message,
    unpack_message,
)
from edge.offline.sync_seal import open_record, seal_record

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
HASH = "ab" * 32
HEADQUARTERS = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEALING = X25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> DeviceKeys:
    return DeviceKeys(tmp_path_factory.mktemp("keys"), bytes(range(32)))


def call(*pieces: Piece) -> Call:
    return Call.make(NOW, (7, HASH), 3, pieces, SEALING.public_key())


def answer(asked: Call, device: str = "d", key: Ed25519PrivateKey = HEADQUARTERS, **more: Any) -> bytes:
    said: dict[str, Any] = {"held": asked.pieces, "refused": {}, "wanted": [], "notes": [], "more": False}
    return pack_answer(key, device, asked, time=NOW, **(said | more))


def signed(keys: DeviceKeys, header: bytes) -> bytes:
    """A message as ``pack_message`` makes it, with whatever header."""
    body = header + b"\n"
    signature = keys.sign(hashlib.sha256(b"edgekit sync 1\n" + body).hexdigest())
    return zstandard.ZstdCompressor().compress(b"EKS1" + signature + body)


def test_a_message_comes_back_as_it_was_packed(keys: DeviceKeys) -> None:
    pieces = (Piece(1, HASH, "", 0, 1, b"{}"), Piece(1, HASH, "document/0", 1, 2, bytes(1000)))
    asked = call(*pieces)
    message = unpack_message(pack_message(keys, "网点", pieces, asked))
    assert (message.pieces, message.call, message.name) == (pieces, asked, "网点")
    assert message.device == device_id(keys.public_bytes)
    assert unpack_message(pack_message(keys, "", pieces, None)).call is None


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_message_of_which_any_byte_was_changed_is_refused(at: int, flip: int) -> None:
    keys = DeviceKeys(None, bytes(range(32)))  # type: ignore[arg-type]
    piece = Piece(1, HASH, "", 0, 1, b"entry")
    frame = bytearray(zstandard.ZstdDecompressor().decompress(pack_message(keys, "b", [piece], call(piece))))
    frame[at % len(frame)] ^= flip
    with pytest.raises(MessageError):
        unpack_message(zstandard.ZstdCompressor().compress(bytes(frame)))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_with_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(MessageError):
        unpack_message(data)
    with pytest.raises(AcknowledgementError):
        unpack_answer(data, HEADQUARTERS.public_key(), "d", call(), SEALING)


def test_a_message_that_unpacks_to_gigabytes_takes_no_more_than_its_bound(keys: DeviceKeys) -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(b"EKS1" + bytes(MESSAGE_MAX_BYTES * 8))
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(MessageError, match="more than"):
        unpack_message(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * MESSAGE_MAX_BYTES


@pytest.mark.parametrize(
    "piece",
    [
        Piece(1, "..", "", 0, 1, b""),
        Piece(-1, HASH, "", 0, 1, b""),
        Piece(10**18, HASH, "", 0, 1, b""),
        Piece(1, HASH, "a:b", 0, 1, b""),
        Piece(1, HASH, "receipt", 2, 2, b""),
        Piece(1, HASH, "x" * 100, 0, 1, b""),
    ],
)
def test_pieces_that_no_journal_has_are_refused(keys: DeviceKeys, piece: Piece) -> None:
    with pytest.raises(MessageError):
        unpack_message(pack_message(keys, "b", [piece], None))


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "a\r\nNats-Msg-Id: 1"},
        {"head_hash": "\ud800"},
        {"head_seq": 10**30},
        {"head_seq": math.inf},
        {"answers_after": -1},
        {"time": "0001-01-01T00:00:00+14:00"},
        {"notes_for": "00" * 32},
        {"notes_for": "ab"},
    ],
)
def test_a_call_that_no_device_makes_is_refused_and_disturbs_no_other(keys: DeviceKeys, wrong: dict[str, Any]) -> None:
    asked = call()
    good = vars(asked)
    header = {"name": "b", "key": keys.public_bytes.hex(), "call": good, "pieces": []}
    assert unpack_message(signed(keys, json.dumps(header).encode())).call == asked
    with pytest.raises(MessageError):
        unpack_message(signed(keys, json.dumps({**header, "call": good | wrong}).encode()))


def test_brackets_without_end_are_refused(keys: DeviceKeys) -> None:
    with pytest.raises(MessageError):
        unpack_message(signed(keys, b"[" * 200_000))


def test_a_name_is_shown_without_what_steers_a_terminal(keys: DeviceKeys) -> None:
    assert unpack_message(pack_message(keys, "网点\x1b[2J\n7", [], call())).name == "网点[2J7"
    header = {"name": "7\ud800", "key": keys.public_bytes.hex(), "call": None, "pieces": []}
    assert unpack_message(signed(keys, json.dumps(header).encode())).name == "7"


def test_only_this_calls_answer_by_headquarters_counts() -> None:
    piece = Piece(1, HASH, "", 0, 1, b"")
    asked, public = call(piece), HEADQUARTERS.public_key()
    assert unpack_answer(answer(asked), public, "d", asked, SEALING).held == {piece.id}
    other_key = answer(asked, key=Ed25519PrivateKey.generate())
    other_head = answer(replace(asked, head_hash="cd" * 32))
    other_entry = answer(asked, held=[f"1:{'cd' * 32}"])
    refusing_another = answer(asked, refused={f"2:{HASH}": "why"})
    for wrong in (other_key, answer(asked, "e"), answer(call(piece)), other_head, other_entry, refusing_another):
        with pytest.raises(AcknowledgementError):
            unpack_answer(wrong, public, "d", asked, SEALING)


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
def test_a_sealed_record_opens_with_headquarters_key_alone(size: int) -> None:
    data = bytes(size)
    parts = list(seal_record(SEALING.public_key(), "d", 7, HASH, "receipt", data))
    sealed = {piece.part: piece.data for piece in parts}
    assert {piece.parts for piece in parts} == {len(parts)}
    assert open_record(SEALING, "d", 7, HASH, "receipt", sealed) == data
    for key, device, seq, name in (
        (X25519PrivateKey.generate(), "d", 7, "receipt"),
        (SEALING, "e", 7, "receipt"),
        (SEALING, "d", 8, "receipt"),
        (SEALING, "d", 7, "application"),
    ):
        with pytest.raises(MessageError):
            open_record(key, device, seq, HASH, name, sealed)


def test_sealed_parts_cannot_change_places_or_be_left_out() -> None:
    data = bytes(range(256)) * 2000
    sealed = {piece.part: piece.data for piece in seal_record(SEALING.public_key(), "d", 7, HASH, "r", data)}
    for wrong in ({**sealed, 0: sealed[1], 1: sealed[0]}, dict(list(sealed.items())[:-1])):
        with pytest.raises(MessageError):
            open_record(SEALING, "d", 7, HASH, "r", wrong)
