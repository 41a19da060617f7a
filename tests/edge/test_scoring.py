"""The score: reasons that add up, findings that never lower it, and nobody refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import PolicyError
from edge.calibration import UNCALIBRATED, Calibration
from edge.documents.extraction import PROBLEM_CODES, Place, Problem
from edge.policy import Language, load_policy
from edge.receipt import Reason
from edge.scoring import Assessment, DocumentFindings, Findings, Proof, TextPhrase, WeighedTransaction, assess

EXAMPLE = load_policy(Path(__file__).parents[2] / "examples" / "policy.toml")
POLICY = EXAMPLE.model_copy(update={"calibration": UNCALIBRATED})  # so that what is told is points
LABELS = tuple(POLICY.text.labels)
RISKS = tuple(label for label in LABELS if POLICY.text.labels[label].weight)
KINDS = ("id_card", "income_proof", "bank_statement")
BOX = ((0.0, 0.0), (90.0, 0.0), (90.0, 30.04), (0.0, 30.0))
STEEP = POLICY.model_copy(update={"calibration": Calibration(points=(0, 10, 30, 100), score=(0, 37, 90, 99))})
CLEAN = Findings(
    text_labels=dict.fromkeys(LABELS, 0.02) | {"normal": 0.98},
    behaviour=0.05,
    top_transactions=(
        WeighedTransaction(3, 0.5, "2026-01-03 09:12 -500.00 店"),
        WeighedTransaction(1, 0.25, "2026-01-02 10:00 +500.00 店"),
    ),
    behaviour_problems=(),
    documents=tuple(DocumentFindings(kind, f"{kind}.jpg") for kind in KINDS),
    declared_income=12000,
    proof=Proof(12000, "income_proof.jpg", 0, BOX),
    instalment=1000,
)

SHARES = st.floats(0, 1)
PROBLEMS = st.sampled_from(sorted(PROBLEM_CODES)).map(lambda code: Problem(code, "文字"))
DOCUMENTS = st.lists(
    st.builds(DocumentFindings, st.sampled_from(KINDS), st.just("a.jpg"), st.lists(PROBLEMS, max_size=4).map(tuple)),
    max_size=4,
)
FINDINGS = st.builds(
    Findings,
    text_labels=st.fixed_dictionaries(dict.fromkeys(LABELS, SHARES)),
    behaviour=st.none() | SHARES,
    top_transactions=st.just(()),
    behaviour_problems=st.just(()),
    documents=DOCUMENTS,
    declared_income=st.floats(0, 1e6),
    proof=st.none() | st.builds(Proof, st.floats(0, 1e6), st.just("p.jpg"), st.just(0), st.just(BOX)),
    instalment=st.floats(0, 1e6),
)


def score(findings: Findings) -> Assessment:
    return assess(findings, POLICY)


def shown(reason: Reason) -> list[dict[str, Any]]:
    evidence: list[dict[str, Any]] = reason.model_dump(mode="json")["evidence"]
    return evidence


@given(FINDINGS)
def test_contributions_add_up_to_the_score(findings: Findings) -> None:
    result = score(findings)
    assert sum(reason.contribution for reason in result.reasons) == result.score
    assert 0 <= result.score <= 100
    assert len(result.reasons) <= 5
    assert len({reason.code for reason in result.reasons}) == len(result.reasons)


@given(FINDINGS)
def test_what_does_not_pass_has_a_reason_and_goes_to_a_person(findings: Findings) -> None:
    result = score(findings)
    assert result.decision in ("pass", "review")
    assert result.decision == "pass" or result.reasons
    assert result.risk_level == "low" or result.decision == "review"


@given(FINDINGS, st.sampled_from(RISKS), SHARES)
def test_a_higher_text_risk_never_lowers_the_score(findings: Findings, label: str, by: float) -> None:
    higher = min(1.0, findings.text_labels[label] + by)
    worse = replace(findings, text_labels={**findings.text_labels, label: higher})
    before, after = score(findings), score(worse)
    assert after.score >= before.score
    assert before.decision == "pass" or after.decision == "review"


@pytest.mark.parametrize("order", [("exaggeration", "inducement"), ("inducement", "exaggeration")])
def test_one_probable_label_goes_to_a_person_whatever_stands_beside_it(order: tuple[str, str]) -> None:
    seen = {"exaggeration": 0.5, "inducement": 0.21}
    result = score(replace(CLEAN, text_labels={label: seen[label] for label in order}))
    assert (result.risk_level, result.decision) == ("low", "review")


@given(FINDINGS, SHARES)
def test_a_higher_behaviour_risk_never_lowers_the_score(findings: Findings, by: float) -> None:
    known = replace(findings, behaviour=findings.behaviour or 0.0)
    assert score(replace(known, behaviour=min(1.0, (known.behaviour or 0) + by))).score >= score(known).score


@given(FINDINGS, PROBLEMS, st.integers(0, 3))
def test_a_further_problem_never_lowers_the_score_and_always_goes_to_a_person(
    findings: Findings, problem: Problem, place: int
) -> None:
    documents = list(findings.documents) or [DocumentFindings("id_card", "a.jpg")]
    findings = replace(findings, documents=documents)
    index = place % len(documents)
    worse = list(documents)
    worse[index] = replace(documents[index], problems=(*documents[index].problems, problem))
    after = score(replace(findings, documents=worse))
    assert after.score >= score(findings).score
    assert after.decision == "review"


@given(FINDINGS, st.sampled_from(RISKS), SHARES)
def test_a_calibrated_score_is_told_exactly_and_never_falls_with_risk(
    findings: Findings, label: str, by: float
) -> None:
    higher = min(1.0, findings.text_labels[label] + by)
    worse = replace(findings, text_labels={**findings.text_labels, label: higher})
    before, after = (assess(each, STEEP) for each in (findings, worse))
    for result in (before, after):
        assert sum(reason.contribution for reason in result.reasons) == result.score
    assert after.score >= before.score


def test_levels_are_of_the_calibrated_score() -> None:
    findings = replace(CLEAN, behaviour=1.0, instalment=12000)  # 30 and 10 points
    result = assess(findings, STEEP)
    assert (result.score, result.risk_level) == (91, "high")
    assert [(reason.code, reason.contribution) for reason in result.reasons] == [
        ("account_behaviour", 68),
        ("repayment_capacity", 23),
    ]


def test_the_example_calls_low_what_is_trouble_in_fewer_than_one_of_five_and_high_what_is_in_half() -> None:
    line, levels = EXAMPLE.calibration, EXAMPLE.levels
    assert (levels.medium_from, levels.high_from) == (20, 50)
    assert line != UNCALIBRATED
    low = max(points for points in range(101) if line.of(points) < levels.medium_from)
    assert 1 <= EXAMPLE.documents.problems["low_confidence"] <= low  # one doubtful field does not make a risk
    assert low < EXAMPLE.documents.problems["id_checksum"]  # one forged number does


def test_a_clean_application_passes_without_reasons() -> None:
    assert score(CLEAN) == Assessment(0, "low", "pass", ())


def test_everything_at_its_worst_is_exactly_a_hundred() -> None:
    worst = replace(
        CLEAN,
        text_labels=dict.fromkeys(RISKS, 1.0),
        behaviour=1.0,
        documents=[DocumentFindings("id_card", "a.jpg", (Problem("id_checksum", ""), Problem("expired", "")))],
        instalment=1e6,
    )
    points = score(worst).score
    assert points == 100 - (POLICY.missing.points - 2 * POLICY.missing.each)
    assert score(worst).risk_level == "high"


def test_a_probable_label_goes_to_a_person_even_at_low_risk() -> None:
    below, above = (replace(CLEAN, text_labels={"vague_income": probability}) for probability in (0.49, 0.5))
    assert score(below).decision == "pass"
    assert (score(above).decision, score(above).risk_level) == ("review", "low")
    (reason,) = score(above).reasons
    assert reason.text == "贷款用途说明含风险表述：收入来源模糊"
    assert shown(reason) == [{"text": "收入来源模糊 0.50（全文）", "code": "vague_income"}]


def test_a_label_is_told_with_the_words_that_carry_it() -> None:
    phrases = {"debt_rollover": TextPhrase(4, 9, "还上信用卡", 0.4), "inducement": TextPhrase(0, 2, "急用", 0.4)}
    findings = replace(CLEAN, text_labels={"debt_rollover": 0.9, "inducement": 0.1}, phrases=phrases)
    assert shown(score(findings).reasons[0]) == [
        {"text": "借新还旧 0.90：“还上信用卡”", "code": "debt_rollover", "phrase": {"start": 4, "end": 9}}
    ]


def test_a_label_without_weight_never_counts() -> None:
    assert score(replace(CLEAN, text_labels={"normal": 1.0})).score == 0


def test_labels_are_named_with_the_most_probable_first() -> None:
    result = assess(replace(CLEAN, text_labels={"fabrication": 0.6, "debt_rollover": 0.9}), POLICY, "en")
    assert result.reasons[0].text == "The purpose reads like: borrowing to repay other debts, fabrication"


def test_the_largest_contribution_is_told_first() -> None:
    reasons = score(replace(CLEAN, text_labels={"vague_income": 0.5}, behaviour=1.0, instalment=12000)).reasons
    assert [(reason.code, reason.contribution) for reason in reasons] == [
        ("account_behaviour", 30),
        ("repayment_capacity", 10),
        ("text_risk", 7),
    ]


def test_a_risky_account_is_told_with_its_transactions() -> None:
    (reason,) = score(replace(CLEAN, behaviour=0.9)).reasons
    assert (reason.code, reason.contribution) == ("account_behaviour", 26)
    assert shown(reason) == [
        {"text": "第 4 笔：2026-01-03 09:12 -500.00 店，权重 0.50", "transaction": 3},
        {"text": "第 2 笔：2026-01-02 10:00 +500.00 店，权重 0.25", "transaction": 1},
    ]


def test_a_problem_is_told_with_its_place_on_the_page_and_its_rows() -> None:
    found = Problem("balance_mismatch", "第 2 行对不上", "rows", (1, 7), Place(2, BOX))
    statement = DocumentFindings("bank_statement", "s.pdf", (found,))
    (reason,) = score(replace(CLEAN, documents=[*CLEAN.documents, statement])).reasons
    assert shown(reason) == [
        {
            "text": "s.pdf：第 2 行对不上",
            "code": "balance_mismatch",
            "file": "s.pdf",
            "page": 2,
            "box": [[0.0, 0.0], [90.0, 0.0], [90.0, 30.0], [0.0, 30.0]],
            "field": "rows",
            "rows": [1, 7],
        }
    ]


def test_what_is_not_shown_of_many_problems_is_counted() -> None:
    many = DocumentFindings("id_card", "a.jpg", (Problem("low_confidence", "不清"),) * 20)
    reason = score(replace(CLEAN, documents=[*CLEAN.documents, many])).reasons[0]
    assert (len(reason.evidence), reason.evidence[-1].text) == (12, "另有 9 项，见各项材料")


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_paper_is_said_and_goes_to_a_person(kind: str) -> None:
    result = score(replace(CLEAN, documents=[each for each in CLEAN.documents if each.kind != kind]))
    assert result.decision == "review"
    assert result.reasons[0].code == "missing_parts"
    assert shown(result.reasons[0]) == [{"text": getattr(POLICY.missing.parts, kind).zh, "code": kind}]


def test_an_account_that_was_not_assessed_is_missing_and_not_guessed() -> None:
    result = score(replace(CLEAN, behaviour=None, behaviour_problems=("Too few transactions.",)))
    assert [reason.code for reason in result.reasons] == ["missing_parts"]
    assert shown(result.reasons[0]) == [{"text": "Too few transactions.", "code": "behaviour"}]
    assert result.decision == "review"


def test_a_history_with_a_problem_goes_to_a_person_and_says_it_first() -> None:
    result = score(replace(CLEAN, behaviour_problems=("2 笔交易重复 (duplicate)",)))
    assert (result.score, result.risk_level, result.decision) == (0, "low", "review")
    (reason,) = result.reasons
    assert (reason.code, reason.contribution) == ("account_behaviour", 0)
    assert shown(reason)[0] == {"text": "2 笔交易重复 (duplicate)"}


@pytest.mark.parametrize("language", ["zh", "en"])
@given(findings=FINDINGS)
def test_every_reason_is_one_of_the_policy_s_in_either_language(findings: Findings, language: Language) -> None:
    codes = set(type(POLICY.reasons).model_fields)
    for reason in assess(findings, POLICY, language).reasons:
        assert reason.code in codes
        assert "other" not in reason.code
        assert reason.text
        assert any("一" <= character <= "鿿" for character in reason.text) == (language == "zh")


def test_a_part_that_the_policy_does_not_require_is_said_without_stopping() -> None:
    parts = POLICY.missing.parts
    relaxed = parts.model_copy(update={"bank_statement": parts.bank_statement.model_copy(update={"required": False})})
    policy = POLICY.model_copy(update={"missing": POLICY.missing.model_copy(update={"parts": relaxed})})
    result = assess(replace(CLEAN, documents=CLEAN.documents[:2]), policy)
    assert result.decision == "pass"
    assert result.reasons[0].text == "缺少：银行流水"


def test_the_proven_income_counts_before_the_declared_one() -> None:
    low = score(replace(CLEAN, proof=Proof(1500, "p.jpg", 1, BOX), instalment=1000)).reasons[0]
    assert low.code == "repayment_capacity"
    (evidence,) = low.evidence
    assert evidence.text == "每月还本 1,000.00 元，证明上的月收入 1,500.00 元"
    assert (evidence.file, evidence.page, evidence.field) == ("p.jpg", 1, "monthly_income")
    unproven = score(replace(CLEAN, proof=None, declared_income=0)).reasons[0]
    assert unproven.contribution == 10
    assert shown(unproven) == [{"text": "每月还本 1,000.00 元，申报的月收入 0.00 元"}]


def test_a_label_that_the_policy_lacks_is_refused() -> None:
    with pytest.raises(PolicyError, match="'gambling'"):
        score(replace(CLEAN, text_labels={"gambling": 0.1}))
