"""Does a score mean what it says: of 100 applications with a score of 20, are about 20 trouble?

No bank's cases are here, so whole applications are invented: a purpose that somebody wrote by hand, with its labels;
the history of a simulated account, with its label; papers that are forged or not; an instalment. What each of the demo
bundle's models says of them is put together as the pipeline does it. A case is trouble if its purpose, its account or
its papers are, or if the instalment was too much. Problems of papers are drawn, not read: forged ones are found as
often as the goal for documents asks, honest ones are suspected as often as it allows.

The calibration is the one in ``examples/policy.toml``. It was fitted to one set of applications (purposes of the dev
file, accounts of one seed) and is measured on another (purposes of the test file, accounts of another seed). What a fit
to the first set gives today stands in the benchmark's JSON under ``details``, to be written into the policy when models
or points have changed. It holds for cases that are as mixed as these; a bank fits its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row
from benchmarks.runtime_models import demo_bundle
from edge.calibrate import expected_calibration_error, fitted
from edge.calibration import MOST, UNCALIBRATED, Calibration
from edge.documents.extraction import Problem
from edge.policy import Policy, load_policy
from edge.scoring import DocumentFindings, Findings, assess
from examples.transactions.generate import generate
from runtime.artifact import read_artifact
from runtime.behaviour import BehaviourModel
from runtime.predictor import load_predictor, model_files
from runtime.text import load_text_classifier

STATEMENTS = ROOT / "examples" / "statements"
POLICY = ROOT / "examples" / "policy.toml"
APPLICATIONS = 4000
HISTORIES = 500
KNOTS = (0, 5, 10, 15, 20, 25, 30, 35, 40, 60, 100)
RESAMPLES = 200
# shares of all applications
_RISKY_TEXT, _RISKY_ACCOUNT, _FORGED = 0.15, 0.15, 0.05
_FOUND, _SUSPECTED = 0.99, 0.02
_FORGERIES = ("balance_mismatch", "id_checksum", "name_mismatch", "income_mismatch", "salary_mismatch")
_MISREADINGS = ("missing_field", "low_confidence")
_KINDS = ("id_card", "income_proof", "bank_statement")
T = TypeVar("T")


@dataclass(frozen=True)
class Material:
    """What applications are put together from, each with whether it is trouble."""

    texts: Sequence[tuple[Mapping[str, float], bool]]
    accounts: Sequence[tuple[float | None, bool]]


def material(bundle: Path, purposes: Path, seed: int, progress: Progress) -> Material:
    """Ask the bundle's models about purposes and accounts."""
    labelled = [line.split("\t") for line in purposes.read_text(encoding="utf-8").splitlines()]
    classifier = load_text_classifier(bundle / "text-risk")
    answers = classifier.classify([text for _, text in labelled])
    texts = [(answer.labels, labels != "normal") for answer, (labels, _) in zip(answers, labelled, strict=True)]
    artifact = read_artifact(bundle / "behaviour")
    if artifact.behaviour is None:
        raise ValueError("the bundle's behaviour model has no settings")
    model = BehaviourModel(
        load_predictor(model_files(bundle / "behaviour", "behaviour"), artifact.models[0].backend), artifact.behaviour
    )
    accounts = []
    for number, (transactions, label) in enumerate(generate(HISTORIES, seed)):
        accounts.append((model.assess(transactions).probability, bool(label)))
        progress("ask about accounts", (number + 1) / HISTORIES)
    return Material(texts, accounts)


def applications(found: Material, policy: Policy, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Points of ``APPLICATIONS`` invented ones, and 1 where one is trouble."""
    policy = policy.model_copy(update={"calibration": UNCALIBRATED})
    rng = np.random.default_rng(seed)
    points, trouble = [], []
    for _ in range(APPLICATIONS):
        labels, bad_text = _drawn(found.texts, _RISKY_TEXT, rng)
        probability, bad_account = _drawn(found.accounts, _RISKY_ACCOUNT, rng)
        forged = bool(rng.random() < _FORGED)
        codes = _FORGERIES if forged else _MISREADINGS
        told = rng.random() < (_FOUND if forged else _SUSPECTED)
        problems = (Problem(codes[int(rng.integers(len(codes)))], ""),) if told else ()
        share = float(rng.lognormal(-1.5, 0.5))  # of the income, mostly between a tenth and a half
        too_much = bool(rng.random() < np.clip(share - 0.3, 0, 0.5))
        findings = Findings(
            text_labels=labels,
            behaviour=probability,
            top_transactions=(),
            behaviour_problems=(),
            documents=[DocumentFindings(kind, kind, problems if kind == "bank_statement" else ()) for kind in _KINDS],
            declared_income=10_000,
            proof=None,
            instalment=10_000 * share,
        )
        points.append(assess(findings, policy).score)
        trouble.append(bad_text or bad_account or forged or too_much)
    return np.array(points), np.array(trouble, np.int64)


def _drawn(found: Sequence[tuple[T, bool]], risky: float, rng: np.random.Generator) -> tuple[T, bool]:
    wanted = bool(rng.random() < risky)
    fitting = [each for each in found if each[1] == wanted]
    return fitting[int(rng.integers(len(fitting)))]


def measure_card(report: Report, scratch: Path, progress: Progress) -> None:
    """Rows on the calibration of the score."""
    bundle, policy = demo_bundle(), load_policy(POLICY)
    known = applications(material(bundle, STATEMENTS / "written_dev.tsv", 31, progress), policy, 1)
    asked = applications(material(bundle, STATEMENTS / "written_test.tsv", 32, progress), policy, 2)
    score = _scores(policy.calibration, asked[0])
    before = expected_calibration_error(*asked)
    anew = fitted(*known, KNOTS)
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, APPLICATIONS, APPLICATIONS)
        errors.append(expected_calibration_error(score[drawn], asked[1][drawn]))
    low, high = np.quantile(errors, [0.025, 0.975])
    report.details["calibration"] = {"shipped": policy.calibration.model_dump(), "fitted anew": anew.model_dump()}
    report.add(
        Row(
            "Score: expected calibration error of the shipped policy, on applications that it was not fitted to",
            Figure(expected_calibration_error(score, asked[1]), float(low), float(high)),
            "of 1",
            Goal(0.05, at_least=False),
            f"{APPLICATIONS:,} invented applications, {asked[1].mean():.0%} of them trouble; ten bins of equal width, "
            f"95 % interval by resampling in brackets. Points without a calibration: {before:.3f}; fitted anew: "
            f"{expected_calibration_error(_scores(anew, asked[0]), asked[1]):.3f}.",
        )
    )


def _scores(line: Calibration, points: NDArray[np.int64]) -> NDArray[np.int64]:
    table = np.array([line.of(each) for each in range(MOST + 1)])
    return table[points]
