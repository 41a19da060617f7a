"""Papers against the application and the calendar."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from edge.application import Application, parse_application
from edge.documents.checks import cross_check
from edge.documents.extraction import Extraction, Field, problem
from edge.policy import DocumentsPolicy

POLICY = DocumentsPolicy(points=20, default=4, confidence_from=0.6, income_gap_from=0.1, problems={})
BOX = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
TODAY = date(2026, 11, 21)


def application(income: float = 12000) -> Application:
    return parse_application(
        f"""{{"application_id": "T-1",
        "applicant": {{"name": "示例·甲", "id_number": "99999919900307001x", "declared_monthly_income": {income}}},
        "loan": {{"amount": 1, "term_months": 1, "purpose": "装修"}}, "documents": [], "transactions": []}}""".encode()
    )


def read(kind: str, confidence: float = 0.9, **values: Any) -> Extraction:
    return Extraction(kind, {name: Field(value, confidence, BOX, 0) for name, value in values.items()})


def found(*extractions: Extraction) -> list[list[tuple[str, str | None]]]:
    checked = cross_check(application(), extractions, POLICY, TODAY)
    return [[(each.code, each.field) for each in problems] for problems in checked]


@pytest.mark.parametrize(
    "extraction",
    [
        read(
            "id_card", name="示例•甲", id_number="99999919900307001X", valid_from="2021-01-01", valid_until="2026-11-21"
        ),
        read("income_proof", name="示例·甲", monthly_income=10800.0),
        read("bank_statement", account_name="示例·甲"),
        read("id_card"),
    ],
)
def test_a_paper_that_agrees_has_no_problem(extraction: Extraction) -> None:
    assert found(extraction) == [[]]


@pytest.mark.parametrize(
    ("extraction", "expected"),
    [
        (read("id_card", name="示例乙"), ("name_mismatch", "name")),
        (read("bank_statement", account_name="示例乙"), ("name_mismatch", "account_name")),
        (read("income_proof", id_number="999999199003070020"), ("id_number_mismatch", "id_number")),
        (read("income_proof", monthly_income=10799.0), ("income_mismatch", "monthly_income")),
        (read("id_card", valid_until="2026-11-20"), ("expired", "valid_until")),
        (read("id_card", valid_from="2026-11-22"), ("not_yet_valid", "valid_from")),
        (read("id_card", 0.59, sex="男"), ("low_confidence", "sex")),
    ],
)
def test_a_paper_that_disagrees_has_one(extraction: Extraction, expected: tuple[str, str]) -> None:
    assert found(extraction) == [[expected]]


def test_a_field_on_one_of_two_cards_is_not_missing_from_the_other() -> None:
    front = Extraction(
        "id_card", {"sex": Field("男", 0.9, BOX, 0)}, (problem("id_card", "missing_field", "valid_until"),)
    )
    back = Extraction(
        "id_card", {"valid_until": Field("2041-01-01", 0.9, BOX, 0)}, (problem("id_card", "missing_field", "sex"),)
    )
    assert found(front, back) == [[], []]
    assert found(front) == [[("missing_field", "valid_until")]]
