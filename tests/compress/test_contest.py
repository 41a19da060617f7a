"""FP32 against INT8: who is chosen, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from compress.contest import Contest, Outcome
from compress.gate import Verdict
from devices.errors import BackendError
from devices.profile import load_profile
from runtime.predictor import Predictor, load_predictor, model_files
from tests.compress import networks

Judge = Callable[[Predictor], tuple[float, Verdict]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Let the network of convolutions compete under a judge, INT8 taking as long as one likes."""
    model, feeds = networks.convolutions()
    (tmp_path / "fp32").mkdir()
    onnx.save(model, tmp_path / "fp32" / "model.onnx")
    fp32 = load_predictor(model_files(tmp_path / "fp32", "net"), "openvino")

    def go(judge: Judge, *, int8_ms: float = 1.0) -> Outcome:
        monkeypatch.setattr("compress.contest.interleaved_medians_ms", lambda *_, **__: {"fp32": 10.0, "int8": int8_ms})
        contest = Contest(
            name="net",
            metric="score",
            higher_is_better=True,
            reference=0.9,
            judge=judge,
            fp32=fp32,
            plain=tmp_path / "fp32",
            timed=feeds[:1],
            profile=load_profile("cpu-avx512-vnni"),
        )
        return contest.run(tmp_path / "fp32", feeds, tmp_path / "int8")

    return go


def verdict(*, passed: bool) -> Verdict:
    return Verdict(passed, 0.0 if passed else 0.4, "Good." if passed else "Bad.")


def test_what_is_accurate_and_faster_is_chosen(run):
    outcome = run(lambda predictor: (0.9, verdict(passed=True)))
    assert (outcome.precision, outcome.directory.name) == ("int8", "int8")
    assert [row.chosen for row in outcome.rows] == [False, True]
    assert outcome.rows[1].fp32_layers == ()
    assert outcome.limits.value == pytest.approx(0.89)


def test_what_is_only_too_slow_leaves_no_operator_in_fp32(run):
    asked = []

    def judge(predictor: Predictor) -> tuple[float, Verdict]:
        asked.append(predictor.sha256)
        return 0.9, verdict(passed=True)

    outcome = run(judge, int8_ms=11.0)
    assert outcome.precision == "fp32"
    assert len(asked) == 1
    assert outcome.rows[1].fp32_layers == ()
    assert "not clearly faster" in outcome.rows[1].verdict


def test_where_accuracy_fails_the_worst_operators_stay_fp32_and_are_listed(run):
    tried: dict[str, float] = {}

    def judge(predictor: Predictor) -> tuple[float, Verdict]:
        passed = len(tried) > 0  # all in INT8 fails; with one operator in FP32 it is good
        return tried.setdefault(predictor.sha256, 0.9 if passed else 0.5), verdict(passed=passed)

    outcome = run(judge)
    assert outcome.precision == "int8"
    assert len(outcome.rows[1].fp32_layers) == 1
    written = load_predictor(model_files(outcome.directory, "net"), "openvino")
    assert outcome.rows[1].value == tried[written.sha256] == 0.9


def test_what_never_gets_accurate_is_reported_with_all_operators_in_int8(run):
    tried: dict[str, float] = {}

    def judge(predictor: Predictor) -> tuple[float, Verdict]:
        return tried.setdefault(predictor.sha256, 0.5 + len(tried) / 100), verdict(passed=False)

    outcome = run(judge)
    assert outcome.precision == "fp32"
    assert len(tried) > 1
    assert (outcome.rows[1].value, outcome.rows[1].fp32_layers) == (0.5, ())


def test_int8_that_answers_with_what_is_no_number_is_refused_in_words(run):
    outcome = run(lambda predictor: (float("nan"), verdict(passed=False)))
    assert outcome.precision == "fp32"
    assert [row.variant for row in outcome.rows] == ["fp32"]
    assert "not numbers" in outcome.rows[0].verdict


def test_int8_that_the_backend_refuses_leaves_fp32_with_the_reason(run):
    def judge(predictor: Predictor) -> tuple[float, Verdict]:
        raise BackendError("OpenVINO failed on net: no such kernel.")

    outcome = run(judge)
    assert outcome.precision == "fp32"
    assert outcome.rows[0].verdict == "INT8 could not be made: OpenVINO failed on net: no such kernel."
