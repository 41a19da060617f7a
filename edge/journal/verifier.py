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
    with path.open(encoding="utf-8", newline="\n") as file:
        header = json.loads(file.readline())
        if header.get("format") != FORMAT:
            raise Bad(f"the first line is not the header of an {FORMAT}")
        if public_key is not None and public_key.lower() != header["public_key"]:
            raise Bad(f"it was written by the device with the key {header['public_key']}, not by the one expected")
        chain = Chain(Ed25519PublicKey.from_public_bytes(bytes.fromhex(header["public_key"])))
        bad = None
        try:
            for text in file:
                chain.take(text)
            chain.end(header["head"])
        except Bad as error:
            bad = error
    for start, end in chain.gaps:
        if not any(first <= start and end <= last for first, last in chain.lost):
            raise Bad(f"entry {start}: it is missing") from bad
    if bad is not None:
        raise bad
    if unknown := sorted(set(codes) - chain.codes):
        raise Bad(f"no entry has the code {unknown[0]}")
    by = "the key given" if public_key else "the key that it names itself: compare it with the bank's list"
    said = [f"Entries {a} to {b} were lost; a later entry, signed by the device, says so." for a, b in chain.gaps]
    return [*said, f"GOOD: {len(chain.codes)} entries, each signed by {by}."]


class Chain:
    """The walk along the entries."""

    def __init__(self, public: Ed25519PublicKey) -> None:
        self.public = public
        self.seq, self.hash = 0, "0" * 64
        self.gaps: list[tuple[int, int]] = []
        self.lost: list[tuple[int, int]] = []
        self.codes: set[str] = set()

    def take(self, text: str) -> None:
        """The next line.

        Raises:
            Bad: It is not the next entry.
        """
        entry, digest = _entry(text, self.seq + 1, self.public)
        seq = entry["seq"]
        if seq <= self.seq:
            raise Bad(f"entry {self.seq + 1}: in its place stands entry {seq}")
        if seq > self.seq + 1:
            self.gaps.append((self.seq + 1, seq - 1))
        elif entry["prev"] != self.hash:
            raise Bad(f"entry {seq}: it does not follow the entry before it")
        if entry["kind"] == "salvage":
            self.lost += [(first, last) for first, last in entry["body"]["lost"]]
        self.seq, self.hash = seq, digest
        self.codes.add(f"{seq}-{b32encode(bytes.fromhex(digest)[:5]).translate(_CROCKFORD).decode()}")

    def end(self, head: dict[str, Any]) -> None:
        """The end.

        Raises:
            Bad: It is not the head that the device signed.
        """
        if (head["seq"], head["hash"]) != (self.seq, self.hash):
            first = min(self.seq, head["seq"]) + 1
            raise Bad(f"entry {first}: the export ends at {self.seq}, and the journal's head was {head['seq']}")
        signed = b"edgekit journal head 1\n" + self.seq.to_bytes(8, "big") + bytes.fromhex(self.hash)
        _check(self.public, head["signature"], signed, "the head was not signed by the device")


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
