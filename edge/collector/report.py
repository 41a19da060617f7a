"""What headquarters should know of its devices, read from the collector's file: who is silent, what lacks, who lies."""

from __future__ import annotations

import json
import shutil
from typing import Any

from edge.collector.store import Store

_SKEW_SAID_S = 60.0  # a call takes its time on a thin line


def make_devices(store: Store) -> list[dict[str, Any]]:
    """Every device that came or was added, the one that has been silent for longest first.

    Returns:
        For each ``device``, ``name``, ``state`` (``registered``, ``retired``, ``unknown``), ``since``, ``why``,
        ``subject`` and ``fingerprint`` of its certificate, ``first_seen``, ``last_seen``, ``clock_ahead_s`` (negative
        where its clock is behind; None within a minute), ``head``, ``entries``, ``missing``, how many below its head
        are not here, and ``unfinished``, of how many papers a part is missing.
    """
    counted = "SELECT device, count(*) FROM entries GROUP BY device"
    held = {str(device): int(count) for device, count in store.rows(counted)}
    unfinished = dict(store.rows("SELECT device, count(*) FROM unfinished GROUP BY device"))
    query = (
        "SELECT device, name, coalesce(state, 'unknown'), since, coalesce(why, ''), subject, fingerprint, first_seen, "
        "last_seen, skew_s, head_seq FROM (SELECT device FROM devices UNION SELECT device FROM register) "
        "LEFT JOIN devices USING (device) LEFT JOIN register USING (device) ORDER BY coalesce(last_seen, '')"
    )
    names = ("device", "name", "state", "since", "why", "subject", "fingerprint", "first_seen", "last_seen")
    return [
        {
            **dict(zip(names, about, strict=True)),
            "clock_ahead_s": round(skew) if skew is not None and abs(skew) > _SKEW_SAID_S else None,
            "head": head,
            "entries": held.get(about[0], 0),
            "missing": max(0, (head or 0) - held.get(about[0], 0)),
            "unfinished": unfinished.get(about[0], 0),
        }
        for *about, skew, head in store.rows(query)
    ]


def make_report(store: Store) -> dict[str, Any]:
    """Devices, alarms, disagreements, erasures and room.

    Returns:
        ``devices``, as ``make_devices`` has them;
        ``alarms``: forks, cut tails, entries and papers that cannot be their device's, and who was turned away;
        ``disagreements``: what headquarters' model said of them, and whether the device has fetched the note;
        ``erasures``: of which decisions copies were destroyed, how many records, and when;
        ``room``: bytes of the collector's file and of its disk that are left, and ``problem`` while papers are refused.
    """
    names = ("device", "kind", "seq", "hash", "detail", "seen")
    alarms = [dict(zip(names, row, strict=True)) for row in store.rows(f"SELECT {', '.join(names)} FROM alarms")]  # noqa: S608
    disagreements = [
        {"device": device, **json.loads(document), "made": made, "fetched": fetched}
        for device, document, made, fetched in store.rows(
            "SELECT device, document, made, fetched FROM notes WHERE kind = 'disagreement' ORDER BY made"
        )
    ]
    of_erasures = ("device", "decision_id", "seq", "records", "made")
    query = "SELECT device, decision, seq, records, made FROM erasures ORDER BY made"
    full = store.full()
    compared = store.rows("SELECT count(*), coalesce(sum(agrees), 0) FROM rescored")[0]
    return {
        "devices": make_devices(store),
        "alarms": alarms,
        "compared": int(compared[0]),
        "agree": int(compared[1]),
        "disagreements": disagreements,
        "erasures": [dict(zip(of_erasures, row, strict=True)) for row in store.rows(query)],
        "room": {
            "used_bytes": store.used_bytes(),
            "free_bytes": shutil.disk_usage(store.folder).free,
            "problem": full.as_dict() if full else None,
        },
    }
