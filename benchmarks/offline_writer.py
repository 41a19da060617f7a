"""``python -m benchmarks.offline_writer STATE COUNT``: append decisions, and say so only when each append has returned.

What was acknowledged goes as a line into ``STATE/acknowledged``. It stands for a server that answers its callers; the
benchmark ends it in the middle of anything.
"""

from __future__ import annotations

import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.offline_power import ACKNOWLEDGED
from edge.journal.keys import open_keys
from edge.journal.store import Journal


def write(state: Path, count: int, *, marks: bool = True) -> None:
    """Open the journal of ``state`` and append ``count`` decisions, with erasures between.

    Args:
        state: Holds journal, keys and what was acknowledged.
        count: How many.
        marks: Whether some are marked as sent; not where a real session sends them.
    """
    keys = state / "keys"
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    journal = Journal.open(state / "journal", open_keys(keys), now=lambda: datetime.now(UTC))
    notes = os.open(state / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in range(count):
        decision_id = str(uuid.uuid4())
        body = {"decision_id": decision_id, "decision": "pass", "level": "low", "amount": 50_000, "score": 12}
        papers = {"document/0": os.urandom(20_000)} if number % 3 == 0 else {}
        journal.append("decision", body, records={"receipt": b"r" * 3000, "application": b"a" * 2000, **papers})
        os.write(notes, f"{decision_id}\n".encode())
        if number % 7 == 6:
            journal.erase(decision_id, why="asked")
        if marks and number % 5 == 4:
            journal.mark_sent([entry.seq for entry in journal.unsent(limit=3)], journal.head())
    journal.close()


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
