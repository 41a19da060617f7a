"""Papers against the application and the calendar."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from edge.application import Application, parse_application
from edge.documents.checks import cross_check
from edge.documents.extraction import Extraction, Field, Place, problem
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
        (read("id_card", 0.59, name="示例乙"), ("low_confidence", "name")),  # may be misread: accuses nobody
        (read("id_card", 0.89, name="示例乙"), ("low_confidence", "name")),
    ],
)
def test_a_paper_that_disagrees_has_one(extraction: Extraction, expected: tuple[str, str]) -> None:
    assert found(extraction) == [[expected]]


def statement(*paid: float, begin: str = "2026-08-20", end: str = "2026-11-18", **values: Any) -> Extraction:
    rows = [
        {
            "date": f"2026-{8 + n:02d}-21",
            "summary": "代发工资",
            "counterparty": "样例公司",
            "amount": each,
            "balance": 1.0,
        }
        for n, each in enumerate(paid)
    ]
    rows.append({"date": "2026-11-01", "summary": "转账", "counterparty": "示例乙", "amount": 90000.0, "balance": 1.0})
    places = tuple(Place(0, ((0.0, y), (9.0, y), (9.0, y + 1), (0.0, y + 1))) for y in range(len(rows)))
    fields = {"rows": Field(rows, 0.9, BOX, 0, places)}
    more = {"period_from": begin, "period_to": end, **values}
    return Extraction("bank_statement", fields | {name: Field(value, 0.9, BOX, 0) for name, value in more.items()})


def test_a_salary_that_bears_out_the_income_is_no_problem() -> None:
    proof = read("income_proof", monthly_income=12000.0)
    for papers in ((statement(12000.0, 9000.0, 9100.0), proof), (statement(9000.0),), (statement(),)):
        assert found(*papers) == [[] for _ in papers]


def test_a_salary_far_below_the_income_is_a_problem_with_its_rows_and_place() -> None:
    papers = (statement(8900.0, 30000.0, 8900.0), read("income_proof", monthly_income=12000.0))
    (problem,) = cross_check(application(), papers, POLICY, TODAY)[0]
    assert (problem.code, problem.field, problem.rows) == ("salary_mismatch", "rows", (0, 1, 2))
    assert "8,900.00" in problem.text
    assert "12,000.00" in problem.text
    assert problem.place == papers[0].fields["rows"].places[0]


def test_a_salary_is_known_by_the_employer_s_name_too() -> None:
    proof = read("income_proof", employer="示例乙", monthly_income=12000.0)
    assert found(statement(), proof) == [[], []]
    other = read("income_proof", employer="示例丙", monthly_income=12000.0)
    assert found(statement(), other) == [[("salary_not_found", "rows")], []]


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("2026-08-20", "2026-11-07", []),
        ("2026-08-20", "2026-11-06", [("period_short", "period_from")]),
        ("2026-05-01", "2026-09-22", []),
        ("2026-05-01", "2026-09-21", [("out_of_date", "period_to")]),
        ("2026-08-20", "2026-11-22", [("future_date", "period_to")]),
    ],
)
def test_a_statement_is_long_enough_and_recent(begin: str, end: str, expected: list[tuple[str, str]]) -> None:
    assert found(statement(12000.0, begin=begin, end=end)) == [expected]


@pytest.mark.parametrize(
    ("day", "expected"), [("2026-08-23", []), ("2026-08-22", ["out_of_date"]), ("2026-11-22", ["future_date"])]
)
def test_an_income_proof_is_recent(day: str, expected: list[str]) -> None:
    assert [code for code, _ in found(read("income_proof", issue_date=day))[0]] == expected


def test_a_bank_sets_how_long_and_how_old_papers_may_be_and_what_is_withheld() -> None:
    strict = POLICY.model_copy(update={"withheld": 0.0, "period_days": 92, "statement_days": 2, "proof_days": 1})
    papers = (statement(11999.0), read("income_proof", monthly_income=12000.0, issue_date="2026-11-19"))
    assert found(*papers) == [[], []]
    checked = cross_check(application(), papers, strict, TODAY)
    assert [[each.code for each in problems] for problems in checked] == [
        ["salary_mismatch", "period_short", "out_of_date"],
        ["out_of_date"],
    ]


def test_a_problem_points_at_its_field_and_says_what_stood_there() -> None:
    extraction = read("id_card", name="示例乙")
    (problem,) = cross_check(application(), [extraction], POLICY, TODAY)[0]
    assert problem.place == Place(0, BOX)
    assert "示例乙" in problem.text


def test_a_field_on_one_of_two_cards_is_not_missing_from_the_other() -> None:
    front = Extraction(
        "id_card", {"sex": Field("男", 0.9, BOX, 0)}, (problem("id_card", "missing_field", "valid_until"),)
    )
    back = Extraction(
        "id_card", {"valid_until": Field("2041-01-01", 0.9, BOX, 0)}, (problem("id_card", "missing_field", "sex"),)
    )
    assert found(front, back) == [[], []]
    assert found(front) == [[("missing_field", "valid_until")]]


@pytest.mark.parametrize("name", ["示例·乙", "示例甲", "示例·甲甲"])
def test_one_character_that_ocr_reads_otherwise_accuses_nobody_and_is_said(name: str) -> None:
    assert found(read("id_card", 0.99, name=name)) == [[("name_unsure", "name")]]
    assert found(read("id_card", 1.0, name=name)) == [[("name_mismatch", "name")]]  # a text layer is not misread
    assert found(read("id_card", 0.99, name=name + "丙丁")) == [[("name_mismatch", "name")]]


def test_an_income_that_was_not_declared_but_proven_is_said() -> None:
    checked = cross_check(application(0), [read("income_proof", monthly_income=9000.0)], POLICY, TODAY)
    assert [each.code for each in checked[0]] == ["income_undeclared"]


def test_one_character_accuses_where_several_papers_or_the_number_say_the_same() -> None:
    papers = (read("id_card", 0.99, name="示例·乙"), read("income_proof", 0.99, name="示例·乙"))
    assert found(*papers) == [[("name_mismatch", "name")], [("name_mismatch", "name")]]
    assert found(*papers, read("bank_statement", account_name="示例·甲"))[0] == [("name_unsure", "name")]
    somebody = read("id_card", 0.99, name="示例·乙", id_number="999999199003070020")
    assert found(somebody) == [[("name_mismatch", "name"), ("id_number_mismatch", "id_number")]]
