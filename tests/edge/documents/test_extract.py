"""What is said of a paper that is empty, or not what it was handed in as."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from edge.documents.extract import extract
from edge.documents.extraction import FIELD_NAMES, KIND_NAMES, PROBLEM_CODES
from edge.documents.layout import ReadPage
from edge.policy import load_policy

Build = Callable[..., ReadPage]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_an_empty_paper_is_unreadable_and_nothing_else(kind: str) -> None:
    for pages in ([], [ReadPage((), 10, 10)]):
        extraction = extract(kind, pages)
        assert extraction.fields == {}
        assert [each.code for each in extraction.problems] == ["unreadable"]


def test_a_paper_of_another_kind_is_said_to_be_one_and_gives_no_fields(page: Build) -> None:
    letter = page((300, 60, "收入证明"), (100, 100, "姓名：示例甲"), (100, 140, "职务：会计"), (100, 180, "特此证明"))
    extraction = extract("id_card", [letter])
    assert extraction.fields == {}
    assert [(each.code, each.text) for each in extraction.problems] == [
        ("wrong_kind", "该文件不像身份证，更像收入证明")
    ]


def test_a_paper_of_no_known_kind_is_said_to_be_none(page: Build) -> None:
    (problem,) = extract("bank_statement", [page((100, 100, "停水通知"))]).problems
    assert (problem.code, problem.text) == ("wrong_kind", "该文件不像银行流水")


def test_three_cards_on_one_picture_give_no_fields_and_one_problem(page: Build) -> None:
    numbers = ("99999919900307001X", "999999196512145381", "999999198306283555")
    cells = [(60, 100 + 40 * n, f"公民身份号码{number}") for n, number in enumerate(numbers)]
    extraction = extract("id_card", [page((60, 60, "姓名示例甲"), *cells)])
    assert extraction.fields == {}
    assert [(each.code, each.text) for each in extraction.problems] == [
        ("several_papers", "该文件上像有 3 张不同的证件，请每张证件单独提交")
    ]
    twice = extract("id_card", [page(cells[0], (60, 300, cells[0][2]))])
    assert twice.value("id_number") == numbers[0]


def test_a_form_that_mentions_identity_cards_is_no_identity_card(page: Build) -> None:
    form = page(
        (60, 60, "在职及收入情况表"),
        (60, 100, "姓名"),
        (60, 140, "性别"),
        (60, 180, "居民身份证"),
        (60, 220, "职务"),
        (60, 260, "工作单位"),
        (60, 300, "月收入"),
    )
    assert "wrong_kind" not in [each.code for each in extract("income_proof", [form]).problems]


def test_every_missing_field_is_named(page: Build) -> None:
    problems = extract("income_proof", [page((300, 60, "收入证明"))]).problems
    assert [each.field for each in problems] == list(FIELD_NAMES["income_proof"])


def test_the_example_policy_weighs_every_problem_and_none_falls_to_the_default_unseen(
    request: pytest.FixtureRequest,
) -> None:
    policy = load_policy(request.config.rootpath / "examples" / "policy.toml")
    assert set(policy.documents.problems) == PROBLEM_CODES


@pytest.mark.parametrize("kind", KIND_NAMES)
@pytest.mark.parametrize("text", ["1" * 20_000, "1," * 10_000, "住址" * 10_000, "月收入" * 7_000, "2026-01-0" * 2_000])
def test_a_hostile_text_layer_takes_no_more_than_a_moment(page: Build, kind: str, text: str) -> None:
    begin = time.process_time()
    extract(kind, [page((0, 0, text), (0, 40, "交易日期 余额 金额"), (0, 80, text))])
    assert time.process_time() - begin < 1.5  # it is linear; one pattern that was not took 4 s here
