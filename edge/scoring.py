"""From findings to a score, a decision and reasons. Pure: no clock, no files, no chance.

There are five parts, and one more for each model that the policy's ``scores`` name, each a whole number of points
between 0 and the most that the policy gives it; the policy's add up to 100. The policy's calibration turns the sum into
the score. At most five reasons are told: the heaviest part, those for which a person looks, and then those that weigh
most. The score is shared out among them in proportion to their points, in whole numbers: it is the exact sum of their
contributions, and none is left for "other" (docs/adr/0029).

Within a part more risk never gives fewer points, and parts do not touch each other, so the score never falls when a
single finding gets worse.

Nobody is refused: an application passes, or a person looks at it. It passes only at low risk, with every required part
there, no problem with any document or with the account's history, and no single probability above the policy's limit
for review.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from devices.errors import PolicyError
from edge.calibration import shared_out
from edge.documents.extraction import Problem
from edge.policy import Language, Policy, ReasonText, ScorePolicy, Wording
from edge.receipt import Box, Decision, Evidence, Phrase, Reason, RiskLevel
from runtime.readable import Unreadable

SCORE_PREFIX = "score_"  # and the policy's name: the code of a further model's reason, and of its being missing

_EVIDENCE_SHOWN = 12
_TRANSACTION = {"zh": "第 {number} 笔：{what}，权重 {weight:.2f}", "en": "No. {number}: {what}, weight {weight:.2f}"}
_INCOME = {
    "zh": "每月还本 {instalment:,.2f} 元，{source}月收入 {income:,.2f} 元",
    "en": "Repayment of {instalment:,.2f} yuan a month, {source} income of {income:,.2f}",
}
_SOURCE = {"zh": ("申报的", "证明上的"), "en": ("declared", "proven")}
_WHOLE_TEXT = {"zh": "（全文）", "en": " (the whole text)"}
_UNREADABLE: Mapping[Unreadable, Wording] = {
    "not_chinese": Wording(zh="用途说明不是中文", en="The purpose is not written in Chinese"),
    "repeated": Wording(zh="用途说明只是重复的字词", en="The purpose only repeats itself"),
    "unlike": Wording(
        zh="用途说明与模型学过的文字相差太远：随意输入，或与用途无关",
        en="The purpose is like no text that the model learned from: typed at random, or about something else",
    ),
}
_TOLD = 5
_MORE = {"zh": "另有 {count} 项，见各项材料", "en": "{count} more, told with their documents"}


@dataclass(frozen=True)
class WeighedTransaction:
    """A transaction that moved the probability: its index in the application's list, its weight, and it in words."""

    index: int
    weight: float
    what: str


@dataclass(frozen=True)
class Proof:
    """The income that a paper proves, yuan a month, and where it says so."""

    income: float
    file: str
    page: int
    box: Box


@dataclass(frozen=True)
class TextPhrase:
    """The words of the purpose that carry a label; without them its probability falls by ``drop``."""

    start: int
    end: int
    text: str
    drop: float


@dataclass(frozen=True)
class DocumentFindings:
    """What was found wrong with one document."""

    kind: str
    file: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Findings:
    """Everything that a score rests on.

    Attributes:
        text_labels: Probability of each label of the purpose text.
        behaviour: Probability of trouble by the account's history; None if it was not assessed.
        top_transactions: Those that moved it most.
        behaviour_problems: What is wrong with the history, or why it was not assessed.
        documents: One entry for each document handed in.
        declared_income: Yuan a month, as the applicant says.
        proof: The lowest income that a paper proves; None if none was read.
        instalment: Yuan a month: the amount divided by the term, without interest.
        phrases: What carries a label, for those of which it can be told.
        purpose_unreadable: Why the purpose cannot be judged; None if it was.
        scores: What further models said, by the policy's names; one that was not asked, for want of inputs, is not in.
    """

    text_labels: Mapping[str, float]
    behaviour: float | None
    top_transactions: Sequence[WeighedTransaction]
    behaviour_problems: Sequence[str]
    documents: Sequence[DocumentFindings]
    declared_income: float
    proof: Proof | None
    instalment: float
    phrases: Mapping[str, TextPhrase] = field(default_factory=dict)
    purpose_unreadable: Unreadable | None = None
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Assessment:
    """The outcome; ``reasons`` with the largest contribution first."""

    score: int
    risk_level: RiskLevel
    decision: Decision
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class _Part:
    code: str
    points: int
    needs_review: bool
    what: str
    evidence: tuple[Evidence, ...]


def assess(findings: Findings, policy: Policy, language: Language = "zh") -> Assessment:
    """Score the findings.

    Args:
        findings: What the score rests on.
        policy: How much each of them weighs, and the line from points to the score; levels are of the score.
        language: Of the reasons.

    Raises:
        PolicyError: The text model gives a label that the policy does not know.
    """
    parts = (
        _text(findings, policy, language),
        _behaviour(findings, policy, language),
        _documents(findings, policy),
        _capacity(findings, policy, language),
        _missing(findings, policy, language),
        *(_further(name, value, policy.scores[name]) for name, value in findings.scores.items()),
    )
    score = policy.calibration.of(sum(part.points for part in parts))
    level: RiskLevel = "low"
    if score >= policy.levels.medium_from:
        level = "high" if score >= policy.levels.high_from else "medium"
    passes = level == "low" and not any(part.needs_review for part in parts)
    told = sorted(_worth_telling(parts), key=lambda part: -part.points)
    contributions = shared_out([part.points for part in told], score)
    reasons = [
        Reason(
            code=part.code,
            text=_sentence(part.code, policy).filled(language, part.what),
            contribution=contribution,
            evidence=_shown(part.evidence, language),
        )
        for part, contribution in zip(told, contributions, strict=True)
        if contribution or part.needs_review
    ]
    reasons.sort(key=lambda reason: -reason.contribution)
    return Assessment(score, level, "pass" if passes else "review", tuple(reasons))


def _worth_telling(parts: Sequence[_Part]) -> list[_Part]:
    """At most five parts: the heaviest, then those for which a person looks, then by weight."""
    weighing = [part for part in parts if part.points or part.needs_review]
    if len(weighing) <= _TOLD:
        return weighing
    heaviest = max(weighing, key=lambda part: part.points)
    order = sorted(weighing, key=lambda part: (part is not heaviest, not part.needs_review, -part.points))
    return order[:_TOLD]


def _sentence(code: str, policy: Policy) -> ReasonText:
    if code.startswith(SCORE_PREFIX):
        return policy.scores[code.removeprefix(SCORE_PREFIX)].reason
    sentence: ReasonText = getattr(policy.reasons, code)
    return sentence


def _shown(evidence: Sequence[Evidence], language: Language) -> list[Evidence]:
    if len(evidence) <= _EVIDENCE_SHOWN:
        return list(evidence)
    more = Evidence(text=_MORE[language].format(count=len(evidence) - _EVIDENCE_SHOWN + 1))
    return [*evidence[: _EVIDENCE_SHOWN - 1], more]


def _text(findings: Findings, policy: Policy, language: Language) -> _Part:
    """Labels combine like independent causes, 1 - product(1 - weight * share): each further one adds, never past 1."""
    text = policy.text
    if unknown := sorted(set(findings.text_labels) - set(text.labels)):
        raise PolicyError(f"The text model gives the label {unknown[0]!r}, which the policy's text.labels lacks.")
    spared = 1.0
    named: list[tuple[float, str]] = []
    needs_review = False
    for label, probability in findings.text_labels.items():
        known = text.labels[label]
        share = _ramp(probability, text.floor, 1.0)
        spared *= 1.0 - known.weight * share
        if known.weight and share:
            named.append((probability, label))
            needs_review |= probability >= text.review_from
    named.sort(reverse=True)
    return _Part(
        "text_risk",
        _points(text.points, 1.0 - spared),
        needs_review,
        _joined([text.labels[label].in_language(language) for _, label in named], language),
        tuple(
            _labelled(text.labels[label], label, probability, findings.phrases.get(label), language)
            for probability, label in named
        ),
    )


def _labelled(name: Wording, label: str, probability: float, phrase: TextPhrase | None, language: Language) -> Evidence:
    said = f"{name.in_language(language)} {probability:.2f}"
    if phrase is None:
        return Evidence(text=said + _WHOLE_TEXT[language], code=label)
    return Evidence(text=f"{said}：“{phrase.text}”", code=label, phrase=Phrase(start=phrase.start, end=phrase.end))


def _behaviour(findings: Findings, policy: Policy, language: Language) -> _Part:
    probability = findings.behaviour
    if probability is None:
        return _Part("account_behaviour", 0, False, "", ())
    return _Part(
        "account_behaviour",
        _points(policy.behaviour.points, _ramp(probability, policy.behaviour.floor, 1.0)),
        bool(findings.behaviour_problems) or probability >= policy.behaviour.review_from,
        f"{probability:.0%}",
        (
            *(Evidence(text=text) for text in findings.behaviour_problems),
            *(_transaction(each, language) for each in findings.top_transactions),
        ),
    )


def _transaction(weighed: WeighedTransaction, language: Language) -> Evidence:
    said = _TRANSACTION[language].format(number=weighed.index + 1, what=weighed.what, weight=weighed.weight)
    return Evidence(text=said, transaction=weighed.index)


def _documents(findings: Findings, policy: Policy) -> _Part:
    weights = policy.documents
    found = [(document, problem) for document in findings.documents for problem in document.problems]
    total = sum(weights.problems.get(problem.code, weights.default) for _, problem in found)
    return _Part(
        "document_problems",
        min(weights.points, total),
        bool(found),
        str(len(found)),
        tuple(_told(document, problem) for document, problem in found),
    )


def _told(document: DocumentFindings, problem: Problem) -> Evidence:
    place = problem.place
    return Evidence(
        text=f"{document.file}：{problem.text}",
        code=problem.code,
        file=document.file,
        page=place.page if place else None,
        box=place.box if place else None,
        field=problem.field,
        rows=list(problem.rows),
    )


def _capacity(findings: Findings, policy: Policy, language: Language) -> _Part:
    weights, proof = policy.capacity, findings.proof
    income = findings.declared_income if proof is None else proof.income
    share = findings.instalment / income if income > 0 else math.inf
    strain = _ramp(share, weights.share_from, weights.share_to)
    shown = f"{share:.0%}" if income > 0 else "∞"
    source = _SOURCE[language][proof is not None]
    said = _INCOME[language].format(instalment=findings.instalment, source=source, income=income)
    evidence = Evidence(text=said)
    if proof:
        evidence = Evidence(text=said, file=proof.file, page=proof.page, box=proof.box, field="monthly_income")
    return _Part("repayment_capacity", _points(weights.points, strain), False, shown, (evidence,))


def _further(name: str, probability: float, weights: ScorePolicy) -> _Part:
    return _Part(
        SCORE_PREFIX + name,
        _points(weights.points, _ramp(probability, weights.floor, 1.0)),
        probability >= weights.review_from,
        f"{probability:.0%}",
        (Evidence(text=f"{weights.model} {probability:.2f}"),),
    )


def _missing(findings: Findings, policy: Policy, language: Language) -> _Part:
    present = {document.kind for document in findings.documents}
    if findings.behaviour is not None:
        present.add("behaviour")
    if findings.purpose_unreadable is None:
        present.add("purpose")
    present |= {SCORE_PREFIX + name for name in findings.scores}
    parts = {name: getattr(policy.missing.parts, name) for name in type(policy.missing.parts).model_fields}
    parts |= {SCORE_PREFIX + name: score.missing for name, score in policy.scores.items()}
    absent = {name: part for name, part in parts.items() if name not in present}
    evidence: list[Evidence] = []
    for name, part in absent.items():
        why: Sequence[str] = findings.behaviour_problems if name == "behaviour" else ()
        if name == "purpose" and findings.purpose_unreadable:
            why = [_UNREADABLE[findings.purpose_unreadable].in_language(language)]
        evidence += [Evidence(text=text, code=name) for text in why or [part.in_language(language)]]
    return _Part(
        "missing_parts",
        min(policy.missing.points, policy.missing.each * len(absent)),
        any(part.required for part in absent.values()),
        _joined([part.in_language(language) for part in absent.values()], language),
        tuple(evidence),
    )


def _ramp(value: float, low: float, high: float) -> float:
    """0 up to ``low``, 1 from ``high`` on, straight between."""
    return 1.0 if value >= high else max(0.0, (value - low) / (high - low))


def _points(most: int, share: float) -> int:
    """Rounded half up, which keeps the order of any two shares."""
    return math.floor(most * share + 0.5)


def _joined(words: list[str], language: Language) -> str:
    return ("、" if language == "zh" else ", ").join(words)
