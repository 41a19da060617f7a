"""Papers against the application and the calendar: what one document alone cannot tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from statistics import median

from rapidfuzz.distance import Levenshtein

from edge.application import Application
from edge.documents.extraction import SURE, Extraction, Problem, problem
from edge.policy import DocumentsPolicy

_SALARY = re.compile(r"工资|薪|代发")
_NAME_FIELDS = {"id_card": "name", "income_proof": "name", "bank_statement": "account_name"}


def cross_check(
    application: Application, extractions: Sequence[Extraction], policy: DocumentsPolicy, today: date
) -> list[tuple[Problem, ...]]:
    """All problems of each document: its own, and those that show beside the application.

    A field that one of several documents of a kind carries (the two sides of a card as two pictures) is not missing
    from the others.

    Args:
        application: What the applicant says.
        extractions: In the order of the application's documents.
        policy: From when on a person looks.
        today: For the validity of cards.

    Returns:
        One tuple for each extraction.
    """
    found = {(extraction.kind, name) for extraction in extractions for name in extraction.fields}
    checked = []
    for extraction in extractions:
        own = [
            each
            for each in extraction.problems
            if each.code != "missing_field" or (extraction.kind, each.field) not in found
        ]
        seen = [
            *_doubtful(extraction, policy),
            *_contradictions(application, extraction, extractions, policy),
            *_validity(extraction, today),
            *_salary(application, extraction, extractions, policy),
            *_timeliness(extraction, policy, today),
        ]
        checked.append((*own, *(each.placed(extraction.fields) for each in seen)))
    return checked


def _doubtful(extraction: Extraction, policy: DocumentsPolicy) -> list[Problem]:
    return [
        problem(extraction.kind, "low_confidence", name, confidence=field.confidence)
        for name, field in extraction.fields.items()
        if field.confidence < policy.confidence_from
    ]


def _contradictions(
    application: Application, extraction: Extraction, papers: Sequence[Extraction], policy: DocumentsPolicy
) -> list[Problem]:
    kind, applicant = extraction.kind, application.applicant
    problems = []
    name_field = _NAME_FIELDS[kind]
    name, number = extraction.value(name_field), extraction.value("id_number")
    if name is not None and _plain(name) != _plain(applicant.name):
        sure = extraction.fields[name_field].confidence
        read = sure < 1.0 and number in (None, _plain(applicant.id_number).upper())  # by OCR, and nothing else differs
        if sure >= SURE and read and _may_be_misread(_plain(name), _plain(applicant.name), papers):
            problems.append(problem(kind, "name_unsure", name_field, seen=name))
        elif sure >= SURE:
            problems.append(problem(kind, "name_mismatch", name_field, seen=name))
        elif sure >= policy.confidence_from:  # below that it is said anyway
            problems.append(problem(kind, "low_confidence", name_field, confidence=sure))
    if number is not None and number != _plain(applicant.id_number).upper():
        problems.append(problem(kind, "id_number_mismatch", "id_number", seen=number))
    proven, declared = extraction.value("monthly_income"), applicant.declared_monthly_income
    if proven and declared == 0:
        problems.append(problem(kind, "income_undeclared", "monthly_income", proven=proven))
    elif proven is not None and declared - proven > policy.income_gap_from * declared:
        problems.append(problem(kind, "income_mismatch", "monthly_income", declared=declared, proven=proven))
    return problems


def _validity(extraction: Extraction, today: date) -> list[Problem]:
    begin, end = extraction.value("valid_from"), extraction.value("valid_until")
    problems = []
    if end is not None and end < today.isoformat():
        problems.append(problem(extraction.kind, "expired", "valid_until", date=end))
    if begin is not None and begin > today.isoformat():
        problems.append(problem(extraction.kind, "not_yet_valid", "valid_from", date=begin))
    return problems


def _salary(
    application: Application, statement: Extraction, papers: Sequence[Extraction], policy: DocumentsPolicy
) -> list[Problem]:
    """The income that is claimed against the salary that came in: the median month, as a bonus or a gap misleads."""
    rows = statement.value("rows")
    if not rows:
        return []
    proven = [paper.value("monthly_income") for paper in papers if paper.value("monthly_income") is not None]
    employers = {_plain(paper.value("employer")) for paper in papers if paper.value("employer")}
    paid: dict[str, float] = {}  # by month
    credits = []
    for index, row in enumerate(rows):
        named = _SALARY.search(row["summary"] + row["counterparty"]) or _plain(row["counterparty"]) in employers
        if named and row["date"] and (row["amount"] or 0) > 0:
            paid[row["date"][:7]] = paid.get(row["date"][:7], 0.0) + row["amount"]
            credits.append(index)
    claimed = max(proven, default=application.applicant.declared_monthly_income)
    if not paid:
        return [problem(statement.kind, "salary_not_found", "rows", claimed=claimed)] if proven else []
    monthly = median(paid.values())
    if monthly < (1 - policy.withheld) * claimed:
        return [problem(statement.kind, "salary_mismatch", "rows", rows=credits, paid=monthly, claimed=claimed)]
    return []


def _timeliness(paper: Extraction, policy: DocumentsPolicy, today: date) -> list[Problem]:
    """Whether a statement is long enough, and it and an income proof are recent and not from the future."""
    problems = []
    begin, end = paper.value("period_from"), paper.value("period_to")
    needed = policy.period_days
    if begin and end and (days := (date.fromisoformat(end) - date.fromisoformat(begin)).days + 1) < needed:
        problems.append(problem(paper.kind, "period_short", "period_from", days=days, needed=needed))
    for name, limit in (("period_to", policy.statement_days), ("issue_date", policy.proof_days)):
        if (day := paper.value(name)) is None:
            continue
        age = (today - date.fromisoformat(day)).days
        if age > limit:
            problems.append(problem(paper.kind, "out_of_date", name, date=day, days=age))
        elif age < 0:
            problems.append(problem(paper.kind, "future_date", name, date=day))
    return problems


def _may_be_misread(name: str, applicant: str, papers: Sequence[Extraction]) -> bool:
    """Whether one character more, less or other makes it the applicant's, and not all of several papers bear it."""
    names = [_plain(value) for paper in papers if (value := paper.value(_NAME_FIELDS[paper.kind]))]
    apart = Levenshtein.distance(name, applicant, score_cutoff=1)
    return apart == 1 and (names.count(name) == 1 or applicant in names)


def _plain(text: str) -> str:
    """Without spaces, and with one form of the dot in names of other peoples."""
    return re.sub(r"[•・]", "·", re.sub(r"\s", "", text))
