"""What headquarters should know of its devices, read from the collector's file: who is silent, what lacks, who lies."""

from __future__ import annotations

import json
from typing import Any

from edge.collector.store import Store


def make_report(store: Store) -> dict[str, Any]:
    """Devices, alarms and disagreements.

    Returns:
        ``devices``, the one that has been silent for longest first: ``device``, ``name``, ``first_seen``,
        ``last_seen``, ``head``, ``entries`` and ``missing``, how many below its head are not here;
        ``alarms``: forks, cut tails and entries that were not signed by their device;
        ``disagreements``: what headquarters' model said of them, and whether the device has fetched the note.
    """
    counted = "SELECT device, count(*) FROM entries GROUP BY device"
    held = {str(device): int(count) for device, count in store.rows(counted)}
    devices = [
        {
            "device": device,
            "name": name,
            "first_seen": first,
            "last_seen": last,
            "head": head,
            "entries": held.get(device, 0),
            "missing": max(0, (head or 0) - held.get(device, 0)),
        }
        for device, name, first, last, head in store.rows(
            "SELECT device, name, first_seen, last_seen, head_seq FROM devices ORDER BY last_seen"
        )
    ]
    names = ("device", "kind", "seq", "hash", "detail", "seen")
    alarms = [dict(zip(names, row, strict=True)) for row in store.rows(f"SELECT {', '.join(names)} FROM alarms")]  # noqa: S608
    disagreements = [
        {"device": device, **json.loads(document), "made": made, "fetched": fetched}
        for device, document, made, fetched in store.rows(
            "SELECT device, document, made, fetched FROM notes WHERE kind = 'disagreement' ORDER BY made"
        )
    ]
    compared = store.rows("SELECT count(*), coalesce(sum(agrees), 0) FROM rescored")[0]
    return {
        "devices": devices,
        "alarms": alarms,
        "compared": int(compared[0]),
        "agree": int(compared[1]),
        "disagreements": disagreements,
    }
