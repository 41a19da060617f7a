"""Headquarters scores again with its big model, and tells devices where it comes to another end.

A disagreement is another risk level, or another decision. Where the device passed a case on only because of its
authority offline, what the score alone would have decided is compared. Every decision is compared once with each
model; its disagreement goes down with the device's next call and brings the case into the branch's review queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from devices.errors import CollectorError, InputError
from edge.application import Submission, from_parts, papers_of, parse_application
from edge.collector.store import Store
from edge.journal.entry import Entry
from edge.offline.sync_seal import open_record

_BY_AUTHORITY = "offline_authority"  # the reason that edge.decide adds
_LEVELS = ("low", "medium", "high")


@dataclass(frozen=True)
class Rescored:
    """What headquarters' model says about one decision.

    Attributes:
        decision_id: Of the device's decision.
        score: 0 to 100.
        level: ``low``, ``medium`` or ``high``.
        decision: ``pass`` or ``review``.
        model: Which model or bundle says so, for people.
    """

    decision_id: str
    score: int
    level: str
    decision: str
    model: str


@dataclass
class Summary:
    """How many were compared, and with what end.

    Attributes:
        agree: Decisions on which both agree.
        disagree: Decisions on which they do not.
        known: Decisions that were compared with this model before.
        left_out: Decisions that could not be scored again: papers erased, not sent, or not whole.
    """

    agree: int = 0
    disagree: int = 0
    known: int = 0
    left_out: int = 0


class Scores(Protocol):
    """What scoring again needs of a device's scorer, as ``edge.pipeline.Scorer`` has it."""

    def __call__(self, submission: Submission, moment: datetime) -> tuple[int, str, str]:
        """Score, level and decision of ``submission`` as of ``moment``."""


def read_rescored(path: Path) -> Iterator[Rescored]:
    """What a model said, from JSON Lines with the fields of ``Rescored``.

    Raises:
        CollectorError: The file cannot be read, or a line is malformed; it is named.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _rescored(line, f"{path}, line {number}")
    except (OSError, UnicodeDecodeError) as error:
        raise CollectorError(f"{path} cannot be read: {error}.") from error


def reconcile(store: Store, said: Iterable[Rescored | None]) -> Summary:
    """Compare, keep what was found, and have devices told where headquarters disagrees; None is left out.

    Raises:
        CollectorError: A decision is not here, or the collector's file cannot be written.
    """
    summary = Summary()
    for each in said:
        if each is None:
            summary.left_out += 1
            continue
        device, entry = store.decision(each.decision_id)
        query = "SELECT 1 FROM rescored WHERE device = ? AND seq = ? AND model = ?"
        if store.rows(query, device, entry.seq, each.model):
            summary.known += 1
            continue
        agrees = (each.level, each.decision) == (entry.body["level"], _decided_by_score(entry))
        store.rescored(device, entry.seq, each.model, vars(each), agrees=agrees)
        if agrees:
            summary.agree += 1
        else:
            summary.disagree += 1
    return summary


def rescore(store: Store, key: X25519PrivateKey, score: Scores, model: str) -> Iterator[Rescored | None]:
    """Score every decision again that ``model`` has not scored yet; None where a paper of it is not here.

    Args:
        store: The collector's.
        key: Opens the papers.
        score: Headquarters' model.
        model: Its name.
    """
    query = (
        "SELECT device, seq FROM entries WHERE kind = 'decision' AND NOT EXISTS (SELECT 1 FROM rescored "
        "WHERE rescored.device = entries.device AND rescored.seq = entries.seq AND model = ?)"
    )
    for device, seq in store.rows(query, model):
        entry = store.entry(device, seq)
        submission = submission_of(store, key, device, entry)
        if submission is None:
            yield None
            continue
        points, level, decision = score(submission, entry.time)
        yield Rescored(str(entry.body["decision_id"]), points, level, decision, model)


def submission_of(store: Store, key: X25519PrivateKey, device: str, entry: Entry) -> Submission | None:
    """The application as the branch received it; None where not every paper of it is here.

    Raises:
        MessageError: A paper is sealed for another key.
    """
    sealed = store.sealed(device, entry.seq)
    if "application" not in sealed:
        return None

    def opened(name: str) -> bytes:
        return open_record(key, device, entry.seq, entry.hash, name, sealed[name])

    application = opened("application")
    try:
        papers = papers_of(parse_application(application))
        return from_parts(application, {name: opened(f"document/{index}") for name, index in papers.items()})
    except (KeyError, InputError):  # pictures stayed at the branch, or a newer kit's application
        return None


def _decided_by_score(entry: Entry) -> str:
    by_authority = any(reason.get("code") == _BY_AUTHORITY for reason in entry.body.get("reasons", ()))
    return "pass" if by_authority else str(entry.body["decision"])


def _rescored(line: str, where: str) -> Rescored:
    try:
        document = json.loads(line)
        made = Rescored(
            str(document["decision_id"]),
            int(document["score"]),
            str(document["level"]),
            str(document["decision"]),
            str(document["model"]),
        )
        if made.level not in _LEVELS or made.decision not in ("pass", "review") or not 0 <= made.score <= 100:
            raise ValueError(f"score {made.score}, level {made.level!r}, decision {made.decision!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise CollectorError(f"{where} is malformed: {error}.") from error
    return made
