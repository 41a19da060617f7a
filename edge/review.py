"""What a person does with decisions: the queue, one case with its papers, verdicts, and what a customer may ask for.

The rules:
 1. The queue holds what waits for a person, the riskiest first.
 2. A verdict has a reason and is journaled before it is answered. From ``two_persons_from`` yuan of the policy on it
    stands when two persons gave the same one; where they differ, a third one decides.
 3. A person is the name of the token that they logged in with; what they call themselves is kept beside it.
 4. A closed case takes no verdict. A customer's request for a human decision opens it anew (PIPL article 24), and so
    do a disagreement of headquarters and, with a reason, a reviewer who did not give the verdict that stands.
 5. Whoever opens a verdict anew does not decide the case: to overturn a person takes two others, or that person.
 6. The queue is in memory. What is closed is read from the journal, the latest first, a bounded number at a time.

Reasons, names and explanations are records of their entries, encrypted; the chain holds none of them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devices.errors import DecisionNotFoundError, RecordErasedError, RequestError, ReviewError
from edge.application import Text
from edge.decide import Desk
from edge.explanation import explain
from edge.journal.entry import Entry
from edge.ledger import Case, VerdictName, Vote, about, case_of
from edge.offline.policy import ReviewPolicy
from edge.offline.sync_notes import HEADQUARTERS
from edge.policy import Language
from runtime.schemas import MAX_CASES, MAX_REASON

Form = TypeVar("Form", bound=BaseModel)

_LEVELS = ("low", "medium", "high")
_STATES = ("open", "closed", "all")
_ANOTHER = "Let another person with a token of their own decide."
_AT_ONCE = 1000  # decisions that a listing of closed ones looks at before it answers, found or not


class _Asked(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Verdict(_Asked):
    """The body of ``POST /v1/decisions/ID/review``; ``reviewer`` is what the person calls themselves."""

    verdict: VerdictName
    reason: Annotated[Text, Field(max_length=MAX_REASON)]
    reviewer: Annotated[Text, Field(max_length=100)] | None = None


class Reopening(_Asked):
    """The body of ``POST /v1/decisions/ID/reopen``."""

    reason: Annotated[Text, Field(max_length=MAX_REASON)]
    reviewer: Annotated[Text, Field(max_length=100)] | None = None


class CustomerRequest(_Asked):
    """The body of ``POST /v1/decisions/ID/requests``."""

    kind: Literal["explanation", "human_decision"]
    language: Language = "zh"


class Reviews:
    """The review queue of one desk; ``runtime.decisions`` serves it. Threads may share it."""

    def __init__(self, desk: Desk, policy: ReviewPolicy) -> None:
        self._desk, self._policy = desk, policy
        self._journal, self._ledger = desk.journal, desk.ledger

    def queue(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Cases: what waits, the riskiest first, or what was decided, the latest first.

        Args:
            arguments: ``state`` (``open``, ``closed``, ``all``), ``level``, ``limit``, and ``after``, the ``next`` of
                the page before.

        Returns:
            ``decisions``; ``next``, null at the end; ``total``, null where nobody counted. A page of what was decided
            may hold fewer than ``limit`` or none though there are more.

        Raises:
            RequestError: One has a wrong value.
            DecisionNotFoundError: ``after`` is no decision of this journal.
            JournalError: The journal cannot be read.
        """
        state = _one_of("state", arguments.get("state", "open"), _STATES)
        level = _one_of("level", arguments["level"], _LEVELS) if arguments.get("level") else None
        limit = _whole("limit", arguments.get("limit", "50"), MAX_CASES)
        last = self._ledger.case(arguments["after"]) if arguments.get("after") else None
        waiting = [case for case in self._ledger.open_cases() if level in (None, case.level)]
        total: int | None = len(waiting)
        if state == "open":
            rest = [case for case in waiting if last is None or case.order > last.order]
            shown = rest[:limit]
            going_on = shown[-1] if len(rest) > limit else None
        else:
            total = None if level else self._ledger.count() - (len(waiting) if state == "closed" else 0)
            shown, going_on = self._decided(state, level, limit, last)
        return {
            "total": total,
            "decisions": [self._summary(case) for case in shown],
            "next": going_on and going_on.decision_id,
        }

    def _decided(self, state: str, level: str | None, limit: int, last: Case | None) -> tuple[list[Case], Case | None]:
        """Decisions before ``last`` that fit, and the one after which to go on; None if there are no more."""
        shown: list[Case] = []
        for _ in range(_AT_ONCE // limit):
            looked = self._ledger.latest(before=last.seq if last else None, limit=limit)
            for last in looked:
                if level in (None, last.level) and not (state == "closed" and last.open):
                    shown.append(last)
                    if len(shown) == limit:
                        return shown, last
            if len(looked) < limit:
                return shown, None
        return shown, last

    def show(self, decision_id: str) -> dict[str, Any]:
        """One case: its summary, receipt and application as far as they were not erased, and what was done with it.

        Raises:
            DecisionNotFoundError: It is not in this journal.
            JournalError: The journal cannot be read.
        """
        entries = about(self._journal, decision_id)
        first, *later = entries
        receipt, application = (self._json(first, name) for name in ("receipt", "application"))
        if receipt is not None:  # as it is: another version of the kit may have written it
            receipt["offline"]["journal"] = first.code
        said: dict[str, list[dict[str, Any]]] = {"review": [], "request": [], "reopening": [], "disagreement": []}
        for entry in later:
            said[entry.kind].append(self._told(entry))
        return {
            **self._summary(case_of(entries)),
            "records_erased": self._journal.erased(first),
            "receipt": receipt,
            "application": application,
            "reviews": said["review"],
            "requests": said["request"],
            "reopenings": said["reopening"],
            "disagreements": said["disagreement"],
        }

    def file(self, decision_id: str, index: int) -> bytes:
        """A paper of the case, in the order of the application's documents.

        Raises:
            DecisionNotFoundError: There is no such decision or paper.
            RecordErasedError: It was erased or retired.
            JournalError: The journal cannot be read.
        """
        decision = self._journal.decision(decision_id)
        named = [each["file"] for each in (self._json(decision, "application") or {"documents": []})["documents"]]
        kept = named.index(named[index]) if index < len(named) else index  # a file that is named again is kept once
        return self._journal.record(decision, f"document/{kept}")

    def review(self, decision_id: str, document: Any, login: str) -> dict[str, Any]:
        """Take a verdict.

        Args:
            decision_id: Of the case.
            document: As ``Verdict``.
            login: Name of the token of whoever gives it.

        Raises:
            RequestError: The body does not fit.
            ReviewError: The case is closed, or the same person has given a verdict on it or opened it again.
            DecisionNotFoundError: It is not in this journal.
            JournalError: The journal cannot be read or written.
        """
        given = _parsed(Verdict, document)
        with self._desk.alone():
            case = self._ledger.case(decision_id)
            if not case.open:
                raise ReviewError(f"The case {decision_id} is closed: it does not wait for a person.")
            if login in {vote.login for vote in case.votes}:
                raise ReviewError(
                    f"{login} has given a verdict on the case {decision_id} already; it needs that of another person.",
                    remedy=_ANOTHER,
                )
            if login == case.opener:
                raise ReviewError(f"{login} has opened the case {decision_id} again.", remedy=_ANOTHER)
            votes = (*case.votes, Vote(login, given.verdict))
            final = Counter(vote.verdict for vote in votes)[given.verdict] >= self._needed(case)
            body = {"decision_id": decision_id, "verdict": given.verdict, "login": login, "final": final}
            record = {"reason": given.reason, "reviewer": given.reviewer or login}
            self._journal.append("review", body, records={"review": _bytes(record)})
            return self._summary(self._ledger.case(decision_id))

    def reopen(self, decision_id: str, document: Any, login: str) -> dict[str, Any]:
        """Open a closed case again, with a reason; another person decides it then.

        Args:
            decision_id: Of the case.
            document: As ``Reopening``.
            login: Name of the token of whoever opens it.

        Raises:
            RequestError: The body does not fit.
            ReviewError: The case is open, or the verdict that stands is this person's or headquarters'.
            DecisionNotFoundError: It is not in this journal.
            JournalError: The journal cannot be read or written.
        """
        given = _parsed(Reopening, document)
        with self._desk.alone():
            case = self._ledger.case(decision_id)
            if case.open:
                raise ReviewError(f"The case {decision_id} waits for a person already.", remedy="Give a verdict on it.")
            voted = {vote.login for vote in case.votes}
            if HEADQUARTERS in voted:
                raise ReviewError(
                    f"Headquarters has decided the case {decision_id}.", remedy="Ask headquarters to decide anew."
                )
            if login in voted:
                raise ReviewError(
                    f"The verdict on the case {decision_id} is one of {login}.",
                    remedy="Let another person with a token of their own open it again.",
                )
            record = {"reason": given.reason, "reviewer": given.reviewer or login}
            body = {"decision_id": decision_id, "login": login}
            self._journal.append("reopening", body, records={"reopening": _bytes(record)})
            return self._summary(self._ledger.case(decision_id))

    def ask(self, decision_id: str, document: Any, login: str) -> dict[str, Any]:
        """Take what the customer asks for: an explanation, or that a person decides.

        Args:
            decision_id: Of the case.
            document: As ``CustomerRequest``.
            login: Name of the token of whoever took it.

        Raises:
            RequestError: The body does not fit.
            RecordErasedError: The receipt that had to be explained was erased.
            DecisionNotFoundError: It is not in this journal.
            JournalError: The journal cannot be read or written.
        """
        asked = _parsed(CustomerRequest, document)
        with self._desk.alone():
            case, text = self._ledger.case(decision_id), None
            body = {"decision_id": decision_id, "request": asked.kind, "language": asked.language, "login": login}
            records = {}
            if asked.kind == "explanation":
                kept = self._journal.record(self._journal.decision(decision_id), "receipt")
                text = explain(json.loads(kept), case.verdict, asked.language)
                records["explanation"] = text.encode()
            self._journal.append("request", body, records=records)
            return {**self._summary(self._ledger.case(decision_id)), "kind": asked.kind, "text": text}

    def _needed(self, case: Case) -> int:
        return 2 if case.amount >= self._policy.two_persons_from else 1

    def _summary(self, case: Case) -> dict[str, Any]:
        return {
            "decision_id": case.decision_id,
            "code": case.code,
            "time": case.time.isoformat(timespec="seconds"),
            "score": case.score,
            "risk_level": case.level,
            "decision": case.decision,
            "amount": case.amount,
            "reasons": [{"code": code, "contribution": points} for code, points in case.reasons],
            "state": "open" if case.open else "closed",
            "needs_two": self._needed(case) == 2,
            "votes": [{"login": vote.login, "verdict": vote.verdict} for vote in case.votes],
            "opened_by": list(case.opened_by),
            "verdict": case.verdict,
        }

    def _told(self, entry: Entry) -> dict[str, Any]:
        """What one later entry says; its record may be erased."""
        body = entry.body
        said = {"time": entry.time.isoformat(timespec="seconds"), "code": entry.code}
        if entry.kind == "request":
            return {**said, "kind": body["request"], "language": body["language"], "login": body["login"]}
        kept = self._json(entry, entry.kind) or {}
        words = {"reason": kept.get("reason"), "reviewer": kept.get("reviewer")}
        if entry.kind == "review":
            return {**said, "verdict": body["verdict"], "login": body["login"], "final": body["final"], **words}
        if entry.kind == "reopening":
            return {**said, "login": body["login"], **words}
        return {**said, **{name: body[name] for name in ("score", "level", "decision", "model")}, **words}

    def _json(self, entry: Entry, name: str) -> Any:
        """A JSON record; None where it was erased, or never was."""
        try:
            return json.loads(self._journal.record(entry, name).decode("utf-8-sig"))
        except (RecordErasedError, DecisionNotFoundError):
            return None


def _parsed(form: type[Form], document: Any) -> Form:
    try:
        return form.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the body"
        raise RequestError(f"{place} does not fit: {first['msg']}.") from error


def _bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False).encode()


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise RequestError(f"{name!r} must be one of {', '.join(known)}.")
    return value


def _whole(name: str, value: str, most: int) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 6 and 1 <= int(value) <= most):
        raise RequestError(f"{name!r} must be a whole number from 1 to {most}.")
    return int(value)
