"""Deciding: what the device may decide, the score, the authority on it, the journal, and only then the answer.

The promises:
 - Nothing is answered that is not in the journal: ``append`` is durable before the receipt is given.
 - A request that bears a key is decided once, however often it is sent while the journal remembers the key.
 - A device whose lease has run out, or whose journal is full, scores nothing.
 - What the device may not let pass by itself goes to a person, and the receipt says why. The score stays as it is.
 - The lease's sums hold across threads and processes: what passes is counted under one lock.
 - The journal's entry holds no personal data; receipt, application and papers are encrypted records of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from devices.clock import Clock
from devices.durable import locked
from devices.errors import JournalError, RequestError, StoppedError
from devices.state import ensure_state_dir
from edge.application import Submission, papers_of
from edge.journal.entry import Entry
from edge.journal.store import Journal
from edge.ledger import Ledger
from edge.offline.lease import Lease, lease
from edge.pipeline import Scored
from edge.policy import Language, Policy
from edge.receipt import Bundle, Offline, Reason, Receipt
from runtime.budget import UNLIMITED, Budget

AUTHORITY_CODE = "offline_authority"
_SAME_S = 300  # seconds: as devices.clock has it


class Scores(Protocol):
    """What deciding needs of ``edge.pipeline.Scorer``."""

    def score(self, submission: Submission, budget: Budget = UNLIMITED, *, moment: datetime | None = None) -> Scored:
        """The receipt of an application, scored as of ``moment``."""
        ...


@dataclass(frozen=True)
class Decided:
    """A receipt as the journal keeps it, and its entry there."""

    receipt: Receipt
    entry: Entry

    def answered(self) -> Receipt:
        """The receipt as it is given out, with the short code of its entry."""
        return coded(self.receipt, self.entry)


class Desk:
    """Where applications are decided. Threads may share one.

    Args:
        scorer: Of the bundle that serves.
        policy: Of the same bundle.
        bundle: It.
        journal: Of this device.
        clock: Of this device.
        machine: What an auditor should know of the machine that scored, such as its processor; no personal data.
        language: Of reasons.
    """

    def __init__(
        self,
        scorer: Scores,
        policy: Policy,
        bundle: Bundle,
        journal: Journal,
        clock: Clock,
        *,
        machine: Mapping[str, str] | None = None,
        language: Language = "zh",
    ) -> None:
        self._scorer, self._policy, self._bundle, self._language = scorer, policy, bundle, language
        self.clock, self._machine = clock, dict(machine or {})
        self.journal, self.ledger = journal, Ledger(journal)
        self._new = True  # a clock that is wrong was wrong for the process before, too, which has said so
        self._mutex, self._folder = threading.Lock(), ensure_state_dir("offline")
        # what the journal holds has passed, even where clock.json was removed and the clock set back
        clock.saw(journal.entry(journal.head().seq).time)

    def serve(self) -> None:
        """Write down that this bundle and its policy decide from now on, unless the journal says so already.

        Raises:
            JournalError: It cannot be written.
        """
        with self.alone():
            self._say_bundle()
            self._say_clock()

    def lease(self, amount: float = 0.0) -> Lease:
        """What the device may decide now, about an application of ``amount`` yuan.

        Raises:
            JournalError: The journal cannot be read.
        """
        return lease(self.ledger.standing(), self.clock.now(), self._policy.offline, amount)

    def decide(self, submission: Submission, budget: Budget = UNLIMITED, *, key: str | None = None) -> Decided:
        """Decide one application, once for each ``key``.

        Args:
            submission: The application and its files.
            budget: What the request may still spend.
            key: The caller's name for this request. Sent again with it, the decision that was made is given again.

        Raises:
            StoppedError: The lease has run out; nothing was scored.
            RequestError: The key was another application's.
            RecordErasedError: What was decided under the key has been erased.
            JournalError: The journal cannot be read or written; nothing was decided.
            EdgeKitError: As of ``Scorer.score``; nothing was decided.
        """
        self._say_clock()
        request = None if key is None else self.journal.keys.pseudonym(f"request {key}")
        if done := self._decided(request, submission):
            return done
        amount = submission.application.loan.amount
        self._refuse_if_stopped(self.lease())
        self.journal.make_room(len(submission.raw) + sum(map(len, submission.files.values())))
        moment = self.clock.now().astimezone().replace(microsecond=0)
        scored = self._scorer.score(submission, budget, moment=moment).receipt
        with budget.stage("journal"), self.alone():
            if done := self._decided(request, submission):  # it was sent twice at once
                return done
            held = self.lease(amount)
            self._refuse_if_stopped(held)
            receipt = under(scored, held, amount, self._policy, self._language)
            self._say_bundle()
            body = self._body(receipt, submission) | ({"request": request} if request else {})
            entry = self.journal.append("decision", body, records=_records(receipt, submission))
        return Decided(receipt, entry)

    def _say_bundle(self) -> None:
        """Before every decision: another process of this device may decide with another bundle meanwhile."""
        if self.ledger.bundle() != self._bundle.sha256:
            self.journal.append("policy", {"bundle": self._bundle.model_dump(mode="json")})

    def _say_clock(self) -> None:
        """Write down that the wall clock was moved."""
        self.clock.read()
        moves = [(move.wall, move.wall - move.expected) for move in self.clock.moves()]
        if self._new and moves:  # as seen from its file and from the journal: one clock that is wrong
            told, total = self.journal.latest("clock", limit=1), sum((by for _, by in moves), timedelta(0))
            known_s = told[0].body.get("moved_s", 0) if told else 0
            moves = [(moves[-1][0], total)] if abs(total.total_seconds() - known_s) > _SAME_S else []
        self._new = False
        for wall, by in moves:
            said = {"expected": wall - by, "clock": wall}
            body = {name: time.isoformat(timespec="seconds") for name, time in said.items()}
            self.journal.append("clock", body | {"moved_s": round(by.total_seconds())})

    def _decided(self, request: str | None, submission: Submission) -> Decided | None:
        if request is None or (decision_id := self.ledger.decided(request)) is None:
            return None
        entry = self.journal.decision(decision_id)
        if entry.body["application"] != self.journal.keys.pseudonym(submission.application.application_id):
            raise RequestError(
                "This Idempotency-Key was sent with another application.",
                state="Nothing was scored; what was decided then stands.",
                remedy="Send each application with a key of its own.",
            )
        return Decided(Receipt.model_validate_json(self.journal.record(entry, "receipt")), entry)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let no other thread or process of this device decide or review meanwhile.

        Raises:
            JournalError: The lock cannot be had.
        """
        with self._mutex, ExitStack() as held:
            try:
                held.enter_context(locked(self._folder))
            except OSError as error:
                raise JournalError(f"The state directory cannot be used: {error.strerror}.") from error
            yield

    def _refuse_if_stopped(self, held: Lease) -> None:
        if held.authority != "stopped":
            return
        if held.cause == "revoked":
            raise StoppedError(
                "Headquarters has withdrawn this device's authority.",
                remedy="Ask headquarters; once it lifts the stop, 'edgekit sync --once' fetches that.",
            )
        allowed = self._policy.offline.review_only_hours / 24
        problem = (
            f"This device was last in contact with headquarters {held.cut_off.total_seconds() / 86_400:.1f} days ago, "
            f"and the bank lets it decide for {allowed:g} days."
        )
        reading = self.clock.peek()
        raise StoppedError(problem if reading.state == "ok" else f"{problem} {reading.sentence}")

    def _body(self, receipt: Receipt, submission: Submission) -> dict[str, Any]:
        return {
            "decision_id": str(receipt.decision_id),
            "application": self.journal.keys.pseudonym(receipt.application_id),
            "amount": submission.application.loan.amount,
            "score": receipt.score,
            "level": receipt.risk_level,
            "decision": receipt.decision,
            "reasons": [{"code": each.code, "contribution": each.contribution} for each in receipt.reasons],
            "profile": receipt.profile,
            "bundle": receipt.bundle.model_dump(mode="json"),
            "models": [each.model_dump(mode="json") for each in receipt.models],
            "offline": receipt.offline.model_dump(mode="json"),
            "machine": self._machine,
        }


def under(receipt: Receipt, held: Lease, amount: float, policy: Policy, language: Language) -> Receipt:
    """``receipt`` under the authority that the device has: what it may not let pass goes to a person."""
    offline = Offline(since=held.since, authority=held.authority)
    if receipt.decision == "review" or held.lets_pass(amount):
        return receipt.model_copy(update={"offline": offline})
    text = policy.reasons.offline_authority.filled(language, held.why(language))
    reason = Reason(code=AUTHORITY_CODE, text=text, contribution=0, evidence=[])
    return receipt.model_copy(update={"offline": offline, "decision": "review", "reasons": [*receipt.reasons, reason]})


def before_authority(receipt: Receipt) -> Receipt:
    """What ``under`` was given: the receipt as the score alone made it, its authority aside."""
    reasons = [each for each in receipt.reasons if each.code != AUTHORITY_CODE]
    decision = receipt.decision if len(reasons) == len(receipt.reasons) else "pass"
    return receipt.model_copy(update={"decision": decision, "reasons": reasons})


def coded(receipt: Receipt, entry: Entry) -> Receipt:
    """``receipt`` with the short code of its journal entry, by which paper and journal can be compared."""
    return receipt.model_copy(update={"offline": receipt.offline.model_copy(update={"journal": entry.code})})


def _records(receipt: Receipt, submission: Submission) -> dict[str, bytes]:
    # a file that twenty documents name is kept once: a request must not grow in the journal
    return {
        "receipt": receipt.to_json().encode(),
        "application": submission.raw,
        **{f"document/{index}": submission.files[name] for name, index in papers_of(submission.application).items()},
    }
