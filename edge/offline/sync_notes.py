"""What headquarters tells a device, and how each kind of note is journaled. Pure.

Every note has ``n``, counted from 1 for each device without a gap, and ``kind``:

 - ``verdict``: a person at headquarters decided about one of this device's decisions; journaled as a ``review`` that
   stands by itself.
 - ``disagreement``: headquarters scored the same application again and comes to another end; journaled as
   ``disagreement``, which brings the decision back into the review queue.
 - ``revocation``: from now on the device may do no more than this authority says, whatever its lease; ``full`` lifts
   it. Journaled as ``revocation``.

A note about a decision that this journal does not hold is journaled as ``note`` and has no other effect. Reasons are
free text and may hold names, so they go into a record, not into the chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from devices.errors import AcknowledgementError
from edge.journal.entry import canonical
from edge.receipt import Decision, RiskLevel

Revoked = Literal["full", "review_only", "stopped"]
NOTE_KINDS = ("review", "disagreement", "revocation", "note")  # of entries that notes become; they carry ``note``
HEADQUARTERS = "headquarters"  # who decided, where a token's name stands otherwise; no token may be called so

_IN_CHAIN: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "verdict": ("review", ("decision_id", "verdict")),
    "disagreement": ("disagreement", ("decision_id", "score", "level", "decision", "model")),
    "revocation": ("revocation", ("authority",)),
}


def entry_of_note(
    note: Mapping[str, Any], knows: Callable[[str], bool]
) -> tuple[str, dict[str, Any], dict[str, bytes]]:
    """Kind, body and records of the entry by which a note is journaled.

    Args:
        note: As headquarters sent it.
        knows: Whether this journal holds the decision of that id.

    Raises:
        AcknowledgementError: The note is of no kind that this kit knows, or lacks a part.
    """
    try:
        number, (kind, names) = int(note["n"]), _IN_CHAIN[note["kind"]]
        said = {name: note[name] for name in names}
        if kind == "review" and said["verdict"] not in ("approve", "decline"):
            raise ValueError(f"the verdict {said['verdict']!r}")
        if kind == "disagreement":
            _check_score(said)
        if kind == "revocation" and said["authority"] not in get_args(Revoked):
            raise ValueError(f"the authority {said['authority']!r}")
        reason = {"reason": str(note.get("reason", "")), "reviewer": str(note.get("reviewer", HEADQUARTERS))}
        record = json.dumps(reason, ensure_ascii=False).encode()
        canonical(said)  # a chain holds no half of a surrogate pair
    except (KeyError, TypeError, ValueError) as error:
        raise AcknowledgementError(
            f"Headquarters sent a note that this kit does not know: {error}.",
            remedy="Update this device: headquarters' collector is newer than its kit.",
        ) from error
    if "decision_id" in said and not knows(str(said["decision_id"])):
        return "note", {"note": number, "about": str(said["decision_id"]), "kind": note["kind"]}, {}
    body = {"note": number} | said
    if kind == "review":
        body |= {"login": HEADQUARTERS, "final": True}
    return kind, body, {kind: record}


def _check_score(said: Mapping[str, Any]) -> None:
    if type(said["score"]) is not int or not 0 <= said["score"] <= 100:
        raise ValueError(f"the score {said['score']!r}")
    if said["level"] not in get_args(RiskLevel) or said["decision"] not in get_args(Decision):
        raise ValueError(f"the level {said['level']!r} with the decision {said['decision']!r}")
