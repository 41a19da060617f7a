#!/usr/bin/env python3
"""Verify an exported journal: ``python3 verify_journal.py journal.jsonl --public-key HEX``.

For an auditor. It needs Python 3.9 or later and the package ``cryptography``, and nothing of the kit. The key is the
one under which the bank enrolled the device; without it the export is checked against the key that it names itself,
which shows accidents but no forgery. A code on a receipt is looked up with --code.

The file: the first line is the header with format, public_key and the signed head {seq, hash, signature}. Each further
line is {"line", "signature"}: ``line`` is the entry as it was hashed. What is checked of each entry:
  - its signature, Ed25519 over b"edgekit journal 1" + a line break + SHA-256 of the line in UTF-8;
  - its number, one more than that of the entry before;
  - ``prev`` in it, the SHA-256 of the line before; 64 zeros in the first;
  - and of the last, that it is the head, which is signed too, over another text.
Numbers that are missing are accepted only if a later entry of kind ``salvage`` declares them lost; they are told.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from base64 import b32encode
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "edgekit journal export 1"
_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")


class Bad(Exception):
    """The export is not what the device wrote; the message says where."""


def main() -> int:
    """Check one file; 0 if it is good, 1 if not."""
    parser = argparse.ArgumentParser(description="Verify an exported journal of the edge deployment kit.")
    parser.add_argument("journal", type=Path, help="journal.jsonl")
    parser.add_argument("--public-key", metavar="HEX", help="the key under which the bank enrolled the device")
    parser.add_argument("--code", action="append", default=[], help="a code on a receipt, such as 1042-7F3KQ9TD")
    arguments = parser.parse_args()
    try:
        said = verify(arguments.journal, arguments.public_key, arguments.code)
    except (Bad, OSError, ValueError, KeyError, TypeError) as error:
        print(f"BAD: {error}")  # noqa: T201
        return 1
    print("\n".join(said))  # noqa: T201
    return 0


def verify(path: Path, public_key: str | None, codes: list[str]) -> list[str]:
    """What is to be told of a good export.

    Raises:
        Bad: It is not good; the first bad entry is named.
    """
    said: list[str] = []
    missing: list[tuple[int, int]] = []
    lost: list[tuple[int, int]] = []
    wanted = set(codes)
    number, prev, digest = 0, "0" * 64, "0" * 64
    with path.open(encoding="utf-8", newline="\n") as file:
        header = json.loads(file.readline())
        if header.get("format") != FORMAT:
            raise Bad(f"the first line is not the header of an {FORMAT}")
        if public_key is not None and public_key.lower() != header["public_key"]:
            raise Bad(f"it was written by the device with the key {header['public_key']}, not by the one expected")
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(header["public_key"]))
        for text in file:
            entry, digest = _entry(text, number + 1, public)
            seq = entry["seq"]
            if seq <= number:
                raise Bad(f"entry {number + 1}: in its place stands entry {seq}")
            if seq > number + 1:
                missing.append((number + 1, seq - 1))
            elif entry["prev"] != prev:
                raise Bad(f"entry {seq}: it does not follow the entry before it")
            if entry["kind"] == "salvage":
                lost += [(start, end) for start, end in entry["body"]["lost"]]
            number, prev = seq, digest
            wanted.discard(f"{seq}-{b32encode(bytes.fromhex(digest)[:5]).translate(_CROCKFORD).decode()}")
    head = header["head"]
    if head["seq"] != number or (number and head["hash"] != digest):
        raise Bad(f"entry {min(number, head['seq']) + 1}: the export ends at {number}, its head is {head['seq']}")
    signed = b"edgekit journal head 1\n" + head["seq"].to_bytes(8, "big") + bytes.fromhex(head["hash"])
    _check(public, head["signature"], signed, "the head was not signed by the device")
    for start, end in missing:
        if not any(first <= start and end <= last for first, last in lost):
            raise Bad(f"entry {start}: it is missing")
        said.append(f"Entries {start} to {end} were lost; a later entry, signed by the device, says so.")
    if wanted:
        raise Bad(f"no entry has the code {sorted(wanted)[0]}")
    by = "the key given" if public_key else "the key that it names itself: compare it with the bank's list"
    return [*said, f"GOOD: {number - sum(b - a + 1 for a, b in missing)} entries, each signed by {by}."]


def _entry(text: str, expected: int, public: Ed25519PublicKey) -> tuple[dict[str, Any], str]:
    try:
        outer = json.loads(text)
        raw = outer["line"].encode("utf-8")
        entry: dict[str, Any] = json.loads(raw)
        signature, _ = outer["signature"], entry["seq"] + 0
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Bad(f"entry {expected}: it is no entry") from error
    digest = hashlib.sha256(raw).hexdigest()
    signed = b"edgekit journal 1\n" + bytes.fromhex(digest)
    _check(public, signature, signed, f"entry {expected}: it is not what the device signed")
    return entry, digest


def _check(public: Ed25519PublicKey, signature: str, signed: bytes, otherwise: str) -> None:
    try:
        public.verify(bytes.fromhex(signature), signed)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise Bad(otherwise) from error


if __name__ == "__main__":
    sys.exit(main())
