"""The head of the journal, kept outside the database: so that a cut-off tail shows.

``journal-head.json`` in ``STATE/keys`` has two lines of JSON, each ``{"seq", "hash", "signature"}`` and padded to 4096
bytes. They are written in turns, in place: one fdatasync an entry, and a power cut can tear only the line that was
being written; the other still names the entry before. So the database may be one entry ahead of it, never behind.

Line 0 is ``{"seq": 0}``, written before the database is made: from then on a missing database is a loss.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.durable import write_durably
from devices.errors import JournalDamagedError
from edge.journal.entry import NO_HASH, Head, head_bytes
from edge.journal.keys import ANCHOR_NAME, DeviceKeys, verifies

_LINE_BYTES = 4096  # one block: disks do not tear across blocks that are not written


class Anchor:
    """The file.

    Args:
        folder: ``STATE/keys``.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / ANCHOR_NAME

    def exists(self) -> bool:
        """Whether a journal was begun on this device."""
        return self.path.exists()

    def begin(self, keys: DeviceKeys) -> None:
        """Make the file, before the database is made. Durable on return.

        Raises:
            OSError: It cannot be written.
        """
        write_durably(self.path, _line(keys.sign_head(0, NO_HASH)) + _line(None), mode=0o600)

    def write(self, head: Head) -> None:
        """Keep ``head``. Durable on return.

        Raises:
            OSError: It cannot be written; the head before is still kept.
        """
        descriptor = os.open(self.path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, _line(head), _LINE_BYTES * (head.seq % 2))
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def read(self, public: Ed25519PublicKey) -> Head:
        """The latest head that the device signed.

        Raises:
            JournalDamagedError: There is none in the file.
            OSError: It cannot be read.
        """
        data = self.path.read_bytes()
        heads = [_head(data[:_LINE_BYTES]), _head(data[_LINE_BYTES:])]
        signed = [head for head in heads if head and verifies(public, head.signature, head_bytes(head.seq, head.hash))]
        if not signed:
            raise JournalDamagedError(f"The journal's head in {self.path} is damaged or was signed by another key.")
        return max(signed, key=lambda head: head.seq)


def _line(head: Head | None) -> bytes:
    document = {} if head is None else {"seq": head.seq, "hash": head.hash, "signature": head.signature.hex()}
    return json.dumps(document).encode().ljust(_LINE_BYTES - 1) + b"\n"


def _head(line: bytes) -> Head | None:
    try:
        document = json.loads(line)
        digest, signature = bytes.fromhex(document["hash"]), bytes.fromhex(document["signature"])
        return Head(int(document["seq"]), digest.hex(), signature)
    except (ValueError, KeyError, TypeError):
        return None
