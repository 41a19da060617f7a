"""What the journal adds up to: where the device stands with headquarters, and which cases wait for a person.

The ledger holds nothing of its own: it is read from the journal when it is opened, and from there on takes in what was
appended since, by whichever process. Closed cases are not kept; they are read again when somebody asks for one.

A case waits for a person when its decision is ``review``, when the customer asked for a human decision, when a
reviewer opened it again, or when headquarters disagrees. A verdict closes it, for large amounts the verdict of two
persons who agree; what opens it again asks for new ones.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from devices.errors import DecisionNotFoundError
from edge.journal.entry import Entry
from edge.journal.store import Journal
from edge.offline.lease import Standing

VerdictName = Literal["approve", "decline"]

_OF_CASES = ("decision", "review", "request", "reopening", "disagreement")
_SENT = 10_000  # requests: whoever got no answer sends again within minutes, not after so many others
_KINDS = ("genesis", "salvage", "contact", "revocation", "policy", *_OF_CASES)


@dataclass(frozen=True, slots=True)
class Vote:
    """What one person said: the name of the token that they logged in with, and their verdict."""

    login: str
    verdict: VerdictName


@dataclass(frozen=True, slots=True)
class Case:
    """One decision and what became of it; no personal data, and little of it, since thousands may wait.

    Attributes:
        decision_id: Of the decision.
        seq: Of its entry in the journal.
        code: The short code of that entry.
        time: Of that entry.
        score: From 0 to 100.
        level: ``low``, ``medium`` or ``high``.
        decision: Of the device: ``pass`` or ``review``.
        amount: Yuan.
        reasons: Code and contribution of each.
        open: Whether it waits for a person.
        votes: Since it was last opened.
        opened_by: Why it was opened again: ``human_decision``, ``reopening`` or ``disagreement``, in their order.
        verdict: The last one that stood.
        opener: The token of whoever opened it again after a verdict; another person has to decide then.
    """

    decision_id: str
    seq: int
    code: str
    time: datetime
    score: int
    level: str
    decision: str
    amount: float
    reasons: tuple[tuple[str, int], ...]
    open: bool
    votes: tuple[Vote, ...] = ()
    opened_by: tuple[str, ...] = ()
    verdict: VerdictName | None = None
    opener: str | None = None

    @property
    def order(self) -> tuple[int, int]:
        """The riskiest first, and of equal ones the oldest."""
        return -self.score, self.seq

    def after(self, entry: Entry) -> Case:
        """The case after one more entry about it."""
        body = entry.body
        if entry.kind == "review":
            votes = (*self.votes, Vote(body["login"], body["verdict"]))
            if body["final"]:
                return replace(self, open=False, votes=votes, verdict=body["verdict"], opener=None)
            return replace(self, votes=votes)
        why = body["request"] if entry.kind == "request" else entry.kind
        if why not in ("human_decision", "reopening", "disagreement"):
            return self
        opened = replace(self, open=True, opened_by=(*self.opened_by, why))
        if why == "disagreement":
            return replace(opened, votes=())
        if self.open:  # it takes no vote: one person could make another's no disappear
            return opened
        return replace(opened, votes=(), opener=body["login"] if self.verdict else None)


def case_of(entries: Iterable[Entry]) -> Case:
    """A case from all entries about it, the decision first."""
    first, *later = entries
    body = first.body
    case = Case(
        decision_id=str(body["decision_id"]),
        seq=first.seq,
        code=first.code,
        time=first.time,
        score=int(body["score"]),
        level=sys.intern(body["level"]),
        decision=sys.intern(body["decision"]),
        amount=float(body["amount"]),
        reasons=tuple((sys.intern(each["code"]), int(each["contribution"])) for each in body["reasons"]),
        open=body["decision"] == "review",
    )
    for entry in later:
        case = case.after(entry)
    return case


class Ledger:
    """The sums over one journal. Threads may share it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._seen = 0
        self._standing: Standing | None = None
        self._open: dict[str, Case] = {}
        self._bundle: str | None = None
        self._sent: dict[str, str] = {}  # the latest requests that bore a name of their own
        self.standing()

    def standing(self) -> Standing:
        """Where the device stands with headquarters now.

        Raises:
            JournalError: The journal cannot be read.
        """
        with self._lock:
            self._catch_up()
            assert self._standing is not None, "a journal begins with an entry"  # noqa: S101
            return self._standing

    def bundle(self) -> str | None:
        """SHA-256 of the bundle that the journal last said to serve; None before the first."""
        with self._lock:
            self._catch_up()
            return self._bundle

    def decided(self, request: str) -> str | None:
        """The decision that a request of this name led to; None if none of the latest bore it.

        Raises:
            JournalError: The journal cannot be read.
        """
        with self._lock:
            self._catch_up()
            return self._sent.get(request)

    def open_cases(self) -> list[Case]:
        """The cases that wait for a person, the riskiest first.

        Raises:
            JournalError: The journal cannot be read.
        """
        with self._lock:
            self._catch_up()
            return sorted(self._open.values(), key=lambda case: case.order)

    def latest(self, *, before: int | None = None, limit: int) -> list[Case]:
        """Cases whatever their state, the latest decision first.

        Args:
            before: Only decisions of a lower number in the journal.
            limit: At most so many.

        Raises:
            JournalError: The journal cannot be read.
        """
        decisions = self._journal.latest("decision", before=before, limit=limit)
        return [self.case(str(entry.body["decision_id"])) for entry in decisions]

    def count(self) -> int:
        """How many cases there are, whatever their state.

        Raises:
            JournalError: The journal cannot be read.
        """
        return self._journal.count("decision")

    def needs_bundle(self, sha256: str) -> bool:
        """Whether a decision on that bundle can still be read; also where no entry says when it served.

        Raises:
            JournalError: The journal cannot be read.
        """
        served = [(entry.seq, entry.body["bundle"]["sha256"]) for entry in self._journal.entries(kinds=["policy"])]
        ends = [seq for seq, _ in served[1:]] + [self._journal.head().seq + 1]
        periods = [(start, end) for (start, named), end in zip(served, ends, strict=False) if named == sha256]
        return not periods or any(self._journal.has_readable("decision", *period) for period in periods)

    def case(self, decision_id: str) -> Case:
        """One case, whatever its state.

        Raises:
            DecisionNotFoundError: There is none of that id.
            JournalError: The journal cannot be read.
        """
        return case_of(about(self._journal, decision_id))

    def _catch_up(self) -> None:
        for entry in self._journal.entries(after=self._seen, kinds=_KINDS):
            if entry.kind in _OF_CASES:
                self._take_in(entry)  # first: if the journal cannot be read, the entry is taken in the next time
            standing = self._standing or Standing(entry.time)
            self._standing = standing.after(entry.kind, entry.time, entry.body)
            if entry.kind == "policy":
                self._bundle = entry.body["bundle"]["sha256"]
            self._seen = entry.seq

    def _take_in(self, entry: Entry) -> None:
        name = str(entry.body["decision_id"])
        if entry.kind == "decision":
            case = case_of([entry])
            if request := entry.body.get("request"):
                self._sent[request] = name
                if len(self._sent) > _SENT:
                    del self._sent[next(iter(self._sent))]
        elif name in self._open:
            case = self._open[name].after(entry)
        else:
            try:
                case = case_of(each for each in about(self._journal, name) if each.seq <= entry.seq)
            except DecisionNotFoundError:  # lost, as the journal's salvage says; what was said about it stands alone
                return
        if case.open:
            self._open[name] = case
        else:
            self._open.pop(name, None)


def about(journal: Journal, decision_id: str) -> list[Entry]:
    """The decision's entry, and what persons and headquarters said about it, in their order.

    Raises:
        DecisionNotFoundError: There is no such decision.
        JournalError: The journal cannot be read.
    """
    decision = journal.decision(decision_id)
    return [
        decision,
        *(each for each in journal.about(decision_id) if each.kind in _OF_CASES and each.seq > decision.seq),
    ]
