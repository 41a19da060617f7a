"""Papers against the application and the calendar: what one document alone cannot tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from edge.application import Application
from edge.documents.extraction import Extraction, Problem, problem
from edge.policy import DocumentsPolicy

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
        policy: Confidence and income gap from which on a person looks.
        today: For the validity of cards.

    Returns:
        One tuple for each extraction.
    """
    found = {(extraction.kind, name) for extraction in extractions for name in extraction.fields}
    return [
        (
            *(
                each
                for each in extraction.problems
                if each.code != "missing_field" or (extraction.kind, each.field) not in found
            ),
            *_doubtful(extraction, policy),
            *_contradictions(application, extraction, policy),
            *_validity(extraction, today),
        )
        for extraction in extractions
    ]


def _doubtful(extraction: Extraction, policy: DocumentsPolicy) -> list[Problem]:
    return [
        problem(extraction.kind, "low_confidence", name, confidence=field.confidence)
        for name, field in extraction.fields.items()
        if field.confidence < policy.confidence_from
    ]


def _contradictions(application: Application, extraction: Extraction, policy: DocumentsPolicy) -> list[Problem]:
    kind, applicant = extraction.kind, application.applicant
    problems = []
    name_field = _NAME_FIELDS[kind]
    name, number = extraction.value(name_field), extraction.value("id_number")
    if name is not None and _plain(name) != _plain(applicant.name):
        problems.append(problem(kind, "name_mismatch", name_field))
    if number is not None and number != _plain(applicant.id_number).upper():
        problems.append(problem(kind, "id_number_mismatch", "id_number"))
    proven, declared = extraction.value("monthly_income"), applicant.declared_monthly_income
    if proven is not None and declared - proven > policy.income_gap_from * declared:
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


def _plain(text: str) -> str:
    """Without spaces, and with one form of the dot in names of other peoples."""
    return re.sub(r"[•・]", "·", re.sub(r"\s", "", text))
