"""The journal for an auditor: JSON Lines, and a verifier that needs nothing of the kit.

No record goes out with it: what an entry says holds no personal data.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from devices.durable import sync_directory
from devices.errors import JournalError
from edge.journal import verifier
from edge.journal.entry import Head
from edge.journal.reader import JournalReader

EXPORT_NAME = "journal.jsonl"
VERIFIER_NAME = "verify_journal.py"


def export(journal: JournalReader, out: Path) -> Head:
    """Write the journal as it is now into the directory ``out``, with the verifier beside it; returns its head.

    Raises:
        JournalDamagedError: An entry cannot be read.
        JournalError: ``out`` holds an export already, or cannot be written.
    """
    head = journal.head()
    header = {
        "format": verifier.FORMAT,
        "public_key": journal.keys.public_bytes.hex(),
        "head": {"seq": head.seq, "hash": head.hash, "signature": head.signature.hex()},
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / EXPORT_NAME).open("x", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(header) + "\n")
            for entry in journal.entries():
                if entry.seq > head.seq:
                    break
                line = {"line": entry.raw.decode("utf-8"), "signature": entry.signature.hex()}
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        (out / VERIFIER_NAME).write_bytes(Path(verifier.__file__).read_bytes())
        sync_directory(out)
    except FileExistsError as error:
        raise JournalError(
            f"{out / EXPORT_NAME} is there already.", state="Nothing was exported.", remedy="Name another directory."
        ) from error
    except OSError as error:
        raise JournalError(
            f"The journal cannot be exported to {out}: {error.strerror}.",
            state="The journal itself is as it was.",
            remedy="Make room there, or name another directory.",
        ) from error
    return head
