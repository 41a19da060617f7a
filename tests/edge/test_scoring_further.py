"""A scorecard with further models: points still add up, more risk never weighs less, five reasons tell all of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import PolicyError
from edge.explanation import explain
from edge.policy import Policy, load_policy
from edge.receipt import Behaviour, Bundle, Offline, Receipt, TextRisk, now
from edge.scoring import Assessment, DocumentFindings, Findings, Proof, assess

EXAMPLES = Path(__file__).parents[2] / "examples"
TEXT = (
    (EXAMPLES / "policy.toml")
    .read_text(encoding="utf-8")
    .replace("points = 35", "points = 25")
    .replace("points = 30", "points = 20")
)
SCORES = (EXAMPLES / "scores.toml").read_text(encoding="utf-8")


def policy(scores: str = SCORES, text: str = TEXT) -> Policy:
    return load_policy((text + scores).encode())


POLICY = policy()
BOX = ((0.0, 0.0), (90.0, 0.0), (90.0, 30.0), (0.0, 30.0))
CLEAN = Findings(
    text_labels={"normal": 0.98, "debt_rollover": 0.01},
    behaviour=0.05,
    top_transactions=(),
    behaviour_problems=(),
    documents=tuple(DocumentFindings(kind, "a.jpg") for kind in ("id_card", "income_proof", "bank_statement")),
    declared_income=12_000,
    proof=Proof(12_000, "a.jpg", 0, BOX),
    instalment=1000,
    scores={"gang": 0.1, "offers": 0.1},
)
WORST = replace(
    CLEAN,
    text_labels={"debt_rollover": 1.0},
    behaviour=1.0,
    documents=(),
    instalment=12_000,
    scores={"gang": 0.9, "offers": 0.99},
)
SHARES = st.floats(0, 1)
FINDINGS = st.builds(
    lambda behaviour, label, instalment, papers, scores: replace(
        CLEAN,
        behaviour=behaviour,
        text_labels={"debt_rollover": label},
        instalment=instalment,
        documents=CLEAN.documents[:papers],
        scores=scores,
    ),
    st.none() | SHARES,
    SHARES,
    st.floats(0, 20_000),
    st.integers(0, 3),
    st.fixed_dictionaries({}, optional={"gang": SHARES, "offers": SHARES}),
)


def score(findings: Findings) -> Assessment:
    return assess(findings, POLICY)


@given(FINDINGS)
def test_at_most_five_reasons_add_up_to_the_score(findings: Findings) -> None:
    result = score(findings)
    assert sum(reason.contribution for reason in result.reasons) == result.score
    assert len(result.reasons) <= 5


@given(FINDINGS, st.sampled_from(["gang", "offers"]), SHARES)
def test_a_higher_further_score_never_lowers_the_score(findings: Findings, name: str, by: float) -> None:
    known = replace(findings, scores=findings.scores | {name: findings.scores.get(name, 0.0)})
    worse = replace(known, scores=known.scores | {name: min(1.0, known.scores[name] + by)})
    before, after = score(known), score(worse)
    assert after.score >= before.score
    assert (before.decision, after.decision) != ("review", "pass")


def test_a_gang_s_network_is_a_reason_in_the_bank_s_words() -> None:
    (reason,) = score(replace(CLEAN, scores={"gang": 0.9, "offers": 0.1})).reasons
    assert (reason.code, reason.text) == ("score_gang", "关系网络显示团伙欺诈的可能性为 90%")
    assert [each.text for each in reason.evidence] == ["gang-fraud 0.90"]
    assert reason.contribution > 0


def test_a_person_looks_from_review_from_on_and_not_before() -> None:
    assert score(replace(CLEAN, scores={"gang": 0.5, "offers": 0.0})).decision == "review"
    plain = policy(text=TEXT[: TEXT.index("[calibration]")] + TEXT[TEXT.index("[text]") :])  # points are the score
    assert assess(replace(CLEAN, scores={"gang": 0.49, "offers": 0.0}), plain).decision == "pass"


def test_a_score_without_its_inputs_is_missing_and_a_person_looks_where_the_policy_says() -> None:
    without = score(replace(CLEAN, scores={"offers": 0.1}))
    assert without.decision == "review"
    assert without.reasons[0].text == "缺少：关系网络数据"
    assert [each.code for each in without.reasons[0].evidence] == ["score_gang"]
    plain = policy(text=TEXT[: TEXT.index("[calibration]")] + TEXT[TEXT.index("[text]") :])
    other = assess(replace(CLEAN, scores={"gang": 0.1}), plain)
    assert (other.decision, other.reasons[0].text) == ("pass", "缺少：广告点击数据")


def test_of_more_than_five_parts_five_tell_the_whole_score_and_why_a_person_looks() -> None:
    result = score(WORST)
    contributions = [reason.contribution for reason in result.reasons]
    assert contributions == sorted(contributions, reverse=True)
    assert sum(contributions) == result.score
    # six parts have points; offers sends nobody to a person, and what is missing does, though it weighs less
    codes = {"text_risk", "account_behaviour", "score_gang", "repayment_capacity", "missing_parts"}
    assert {reason.code for reason in result.reasons} == codes


def test_a_customer_is_not_told_the_same_point_twice() -> None:
    reasons = score(replace(CLEAN, scores={"gang": 0.9, "offers": 0.9})).reasons
    assert len(reasons) == 2
    receipt = Receipt(
        application_id="A",
        time=now(),
        device_id="d",
        profile="p",
        bundle=Bundle(name="b", version="1", sha256="0" * 64),
        score=9,
        risk_level="low",
        decision="review",
        reasons=list(reasons),
        documents=[],
        text_risk=TextRisk(labels={}),
        behaviour=Behaviour(probability=None, top_transactions=[]),
        scores={"gang": 0.9},
        models=[],
        offline=Offline(since=None, authority="full"),
        timings_ms={},
    )
    assert explain(receipt.model_dump(mode="json"), None, "zh").count("其他需要工作人员核实的情况") == 1
    assert receipt.model_dump(mode="json")["scores"] == {"gang": 0.9}
    assert "scores" not in receipt.model_copy(update={"scores": {}}).model_dump(mode="json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("points = 12", "points = 13", "missing, scores.gang and scores.offers are 101 together, not 100"),
        ("[scores.gang]", "[scores.Gang]", "scores.Gang"),
        ("place = [0, 1]", "place = [0, -1]", "scores.gang.place"),
        ("floor = 0.2", 'floor = 0.2\nreads = "tanh"', "scores.gang.reads"),
        ("$what", "$who", "scores.gang.reason.zh"),
    ],
)
def test_a_section_that_does_not_fit_is_refused_with_its_key(old: str, new: str, said: str) -> None:
    assert old in SCORES
    with pytest.raises(PolicyError) as caught:
        policy(SCORES.replace(old, new, 1))
    assert said in caught.value.problem
