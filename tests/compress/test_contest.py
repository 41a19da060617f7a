"""FP32 against BF16 and INT8: who is chosen, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import onnx
import pytest

from compress.contest import Contest, Outcome
from compress.gate import Verdict
from devices.errors import BackendError
from devices.profile import load_profile
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor, model_files, without_bf16
from tests.compress import networks

Judge = Callable[[Predictor], tuple[float, Verdict]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Let the network of convolutions compete under a judge, INT8 taking as long as one likes."""
    model, feeds = networks.convolutions()
    (tmp_path / "fp32").mkdir()
    onnx.save(model, tmp_path / "fp32" / "model.onnx")
    fp32 = load_predictor(model_files(tmp_path / "fp32", "net"), "openvino")

    def load(files: ModelFiles, backend: str, options: RunOptions) -> Predictor:
        """On any processor alike: BF16 is computed in FP32, and called BF16 where the test says so."""
        assert options.threads == 3  # as FP32 was
        predictor = load_predictor(replace(files, precision="fp32"), backend, options)
        predictor.precision = files.precision if native == "bf16" else without_bf16(files.precision)
        return predictor

    native = "bf16"
    monkeypatch.setattr("compress.contest.load_predictor", load)

    def go(
        judge: Judge,
        *,
        int8_ms: float = 1.0,
        bf16_ms: float | None = None,
        computes: Literal["bf16", "fp32"] = "bf16",
        int8: bool = True,
        backend: str = "openvino",
    ) -> Outcome:
        nonlocal native
        native = computes
        times = {"fp32": 10.0, "int8": int8_ms, "int8+bf16": int8_ms, "bf16": bf16_ms}
        monkeypatch.setattr("compress.contest.interleaved_medians_ms", lambda *_, **__: times)
        base = load_profile("cpu-avx512-vnni")
        serve = {"bf16": bf16_ms is not None, "int8": int8, "backends": (backend,), "threads": 3}
        contest = Contest(
            name="net",
            metric="score",
            higher_is_better=True,
            reference=0.9,
            judge=judge,
            fp32=fp32,
            plain=tmp_path / "fp32",
            timed=feeds[:1],
            profile=base.model_copy(update={"serve": base.serve.model_copy(update=serve)}),
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


def by_precision(**passed: bool) -> Judge:
    """A judge that passes what it is told to; of INT8 with or without BF16 alike."""

    def judge(predictor: Predictor) -> tuple[float, Verdict]:
        good = passed[predictor.precision.partition("+")[0]]
        return 0.9 if good else 0.5, verdict(passed=good)

    return judge


def test_bf16_is_chosen_where_it_passes_and_int8_does_not(run):
    outcome = run(by_precision(bf16=True, int8=False), bf16_ms=7.0)
    assert (outcome.precision, outcome.directory.name) == ("bf16", "fp32")
    assert [(row.variant, row.chosen) for row in outcome.rows] == [
        ("fp32", False),
        ("bf16", True),
        ("int8+bf16", False),
    ]
    assert [row.verdict for row in outcome.rows] == [
        "The reference.",
        "Good. 7.0 ms after 10.0 ms before.",
        "Bad. 1.0 ms after 10.0 ms before.",
    ]
    assert outcome.rows[1].size_bytes == outcome.rows[0].size_bytes


@pytest.mark.parametrize(("int8_ms", "bf16_ms", "faster"), [(3.0, 7.0, "int8+bf16"), (7.0, 3.0, "bf16")])
def test_of_two_that_pass_the_faster_is_chosen_and_the_other_says_so(run, int8_ms: float, bf16_ms: float, faster: str):
    outcome = run(by_precision(bf16=True, int8=True), int8_ms=int8_ms, bf16_ms=bf16_ms)
    assert outcome.precision == faster
    (beaten,) = (row for row in outcome.rows[1:] if not row.chosen)
    assert beaten.verdict.endswith(f"before. {faster.upper()} is faster still.")
    assert outcome.rows[0].verdict == "The reference."


def test_where_noise_cannot_tell_them_apart_the_smaller_is_chosen(run):
    outcome = run(by_precision(bf16=True, int8=True), int8_ms=5.1, bf16_ms=5.0)
    assert outcome.precision == "int8+bf16"
    assert outcome.rows[1].verdict.endswith("INT8+BF16 is as fast, but for noise, and smaller.")
    assert outcome.rows[2].size_bytes < outcome.rows[1].size_bytes


def test_fp32_is_kept_where_neither_form_passes(run):
    outcome = run(by_precision(bf16=True, int8=False), bf16_ms=9.9)
    assert outcome.precision == "fp32"
    assert outcome.rows[0].verdict == "Kept, because neither BF16 nor INT8+BF16 passed."
    assert "not clearly faster" in outcome.rows[1].verdict


def test_bf16_alone_is_enough_of_a_contest(run):
    outcome = run(by_precision(bf16=False), bf16_ms=5.0, int8=False)
    assert outcome.precision == "fp32"
    assert outcome.rows[0].verdict == ("Kept, because BF16 did not pass. Profile cpu-avx512-vnni does not use INT8.")


def test_a_processor_without_bf16_does_not_pretend_to_have_tried(run):
    outcome = run(by_precision(int8=True), bf16_ms=5.0, computes="fp32")
    assert [row.variant for row in outcome.rows] == ["fp32", "int8"]
    assert outcome.rows[0].verdict == "The reference. BF16 was not tried: this processor does not compute in it."


def test_only_openvino_is_asked_for_bf16(run):
    outcome = run(by_precision(int8=True), bf16_ms=5.0, backend="onnxruntime")
    assert [row.variant for row in outcome.rows] == ["fp32", "int8"]
    assert outcome.rows[0].verdict == "The reference."


def test_bf16_that_answers_with_what_is_no_number_is_refused_in_words(run):
    outcome = run(
        lambda predictor: (float("nan") if predictor.precision == "bf16" else 0.9, verdict(passed=True)), bf16_ms=5.0
    )
    assert outcome.precision == "int8+bf16"
    assert "BF16 was refused" in outcome.rows[0].verdict
