"""The same application on the same networks scores the same, whichever back end runs them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest

from compress.behaviour import train
from compress.behaviour_network import save_network
from compress.histories import History
from edge.application import Submission, read_directory
from edge.convert import readable_by, text_artifact
from edge.pipeline import Identity, Scorer
from edge.policy import load_policy
from edge.receipt import Bundle, Offline, Receipt
from examples.transactions.generate import generate
from runtime.behaviour import BehaviourModel, features
from runtime.ocr.models import read_ocr_models
from runtime.ocr.pipeline import load_ocr
from runtime.predictor import Backend, RunOptions, load_predictor, model_files
from runtime.text import load_text_classifier

EXAMPLES = Path(__file__).parents[2] / "examples"
POLICY = load_policy(EXAMPLES / "policy.toml")
MOMENT = datetime.fromisoformat("2026-11-23T10:00:00+08:00")
BACKENDS: tuple[Backend, ...] = ("paddle", "openvino", "onnxruntime")


@pytest.fixture(scope="module")
def score_on(ppocr_v4: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Backend, Submission], Receipt]:
    """Scores with FP32 models in the form that each back end reads: PP-OCRv4, the demo's teacher, a young LSTM."""
    histories = [
        History(features(transactions), [label] * len(transactions)) for transactions, label in generate(40, seed=5)
    ]
    network, settings = train(histories, seed=0, epochs=1, progress=lambda share: None)
    behaviour = tmp_path_factory.mktemp("behaviour")
    save_network(network, behaviour)
    found = read_ocr_models(ppocr_v4)

    def score(backend: Backend, submission: Submission) -> Receipt:
        options = RunOptions(threads=2)
        forms = {name: readable_by(getattr(found, name), backend) for name in ("det", "rec", "cls")}
        scorer = Scorer(
            load_ocr(replace(found, **forms), backend, options),
            load_text_classifier(text_artifact(EXAMPLES / "teacher" / "model", backend), backend, options),
            BehaviourModel(
                load_predictor(readable_by(model_files(behaviour, "behaviour"), backend), backend, options), settings
            ),
            POLICY,
            Identity(
                "box", "test", Bundle(name="b", version="1", sha256="a" * 64), (), Offline(since=None, authority="full")
            ),
        )
        return scorer.score(submission, moment=MOMENT).receipt

    return score


def test_every_back_end_gives_the_same_score(score_on: Callable[[Backend, Submission], Receipt]) -> None:
    assert set(BACKENDS) <= set(get_args(Backend))
    sample = read_directory(EXAMPLES / "application")
    first, *others = (score_on(backend, sample) for backend in BACKENDS)
    assert first.text_risk.labels["debt_rollover"] > 0.5
    for other in others:
        assert abs(other.score - first.score) <= POLICY.calibration.steepest
        assert (other.risk_level, other.decision) == (first.risk_level, first.decision)
        assert [(each.code, each.evidence) for each in other.reasons] == [
            (each.code, each.evidence) for each in first.reasons
        ]
        assert read(other) == read(first)


def read(receipt: Receipt) -> list[dict[str, object]]:
    return [{name: field.value for name, field in each.fields.items()} for each in receipt.documents]
