"""The recipe on a teacher of random weights, whose own answers serve as the truth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compress.distill import closest_start
from compress.ernie import recipe
from compress.ernie.checkpoint import ErnieConfig
from compress.ernie.model import build_model, model_weights
from compress.ernie.recipe import Candidate, calibration_feeds, choose, compress_ernie, fit_temperature
from compress.paddle_env import paddle
from devices.errors import AccuracyDropError, DataError
from devices.profile import Profile, load_profile
from runtime.artifact import TextSettings
from runtime.choice import check_parity, read_golden
from runtime.text import load_text_classifier
from runtime.tokenizer import SPECIAL_TOKENS

CHARACTERS = "贷款还旧借新卡网天地人你我他上下左右"
CONFIG = ErnieConfig(
    vocab_size=len(SPECIAL_TOKENS) + len(CHARACTERS),
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    type_vocab_size=2,
    initializer_range=0.4,
    id2label={0: "a", 1: "b", 2: "c"},
    problem_type="multi_label_classification",
)


def profile(**changes: Any) -> Profile:
    plain = load_profile("cpu-avx512-vnni")
    compress = {"max_drop": 0.9, "student": "1x24x4", "text_latency_ms": None}
    serve = {key: changes.pop(key) for key in ("backends", "int8") if key in changes}
    return plain.model_copy(
        update={
            "compress": plain.compress.model_copy(update={**compress, **changes}),
            "serve": plain.serve.model_copy(update=serve),
        }
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and texts labelled by it: random networks lean to one side, so each label is cut at its median."""
    directory = tmp_path_factory.mktemp("ernie")
    teacher = directory / "teacher"
    teacher.mkdir()
    paddle.seed(5)
    model = build_model(CONFIG)
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list(CHARACTERS), random.integers(3, 30))) for _ in range(160)]
    index = {character: len(SPECIAL_TOKENS) + at for at, character in enumerate(CHARACTERS)}
    logits = np.array(
        [
            model(ids := paddle.to_tensor([[1, *(index[each] for each in text), 2]]), paddle.zeros_like(ids)).numpy()[0]
            for text in texts
        ]
    )
    weights = model_weights(model)
    middle = np.median(logits, axis=0)
    weights["classifier.bias"] = weights["classifier.bias"] - middle
    rows = []
    for text, over in zip(texts, logits > middle, strict=True):
        labels = [label for label, yes in zip("abc", over, strict=True) if yes]
        if labels:
            rows.append(f"{','.join(labels)}\t{text}\n")
    (teacher / "config.json").write_text(json.dumps(CONFIG.model_dump(mode="json")))
    (teacher / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *CHARACTERS]) + "\n")
    save_file(weights, teacher / "model.safetensors")
    (directory / "train.tsv").write_text("".join(rows[:90]))
    (directory / "dev.tsv").write_text("".join(rows[90:]))
    (directory / "pool.txt").write_text("\n".join(texts) + "\n")
    return directory


def without_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(teacher: Any, teacher_config: Any, student: Any, rows: Any, targets: Any, *, seed: int, **_: Any) -> Any:
        return closest_start(teacher, teacher_config, student, rows, seed=seed)

    monkeypatch.setattr(recipe, "distil", start)


def test_an_artifact_comes_out_that_serves_and_proves_itself(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    seen: list[tuple[str, float]] = []
    report = compress_ernie(
        files / "teacher",
        files / "train.tsv",
        files / "dev.tsv",
        files / "pool.txt",
        profile(),
        tmp_path / "out",
        progress=lambda *each: seen.append(each),
    )
    assert {"artifact.json", "vocab.txt", "model.onnx", "golden.npz", "report.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    rows: list[dict[str, Any]] = report["rows"]  # type: ignore[assignment]
    assert [row["variant"] for row in rows] == ["teacher fp32", "student fp32", "student int8"]
    assert rows[0]["value"] == 1.0
    assert rows[0]["verdict"].startswith("The reference.")
    assert [row["variant"] for row in rows if row["chosen"]] == [report["chosen"]]
    assert all(row["backend"] == "openvino" and row["latency_ms"] > 0 for row in rows)
    assert {stage for stage, _ in seen} == {"read", "quantize", "measure"}
    classifier = load_text_classifier(tmp_path / "out")
    golden = read_golden((tmp_path / "out" / "golden.npz").read_bytes())
    check_parity(classifier.predictor, golden, tolerance=1e-4)
    (answer,) = classifier.classify(["借新还旧"])
    assert answer.labels.keys() == {"a", "b", "c"}


def test_where_no_student_passes_the_teacher_is_quantized(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    monkeypatch.setattr(recipe, "and_faster", lambda verdict, **_: verdict)  # so small a teacher gains no time
    strict = profile(max_drop=0.1)
    report = compress_ernie(files / "teacher", files / "train.tsv", files / "dev.tsv", None, strict, tmp_path)
    assert report["chosen"] == "teacher int8"
    assert load_text_classifier(tmp_path).predictor.precision == "int8"
    rows: list[dict[str, Any]] = report["rows"]  # type: ignore[assignment]
    assert [row["variant"] for row in rows] == ["teacher fp32", "teacher int8", "student fp32", "student int8"]


def test_for_backend_paddle_the_artifact_is_paddles(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    report = compress_ernie(
        files / "teacher", files / "train.tsv", files / "dev.tsv", None, profile(backends=("paddle",)), tmp_path
    )
    assert (tmp_path / "inference.pdmodel").is_file()
    assert not (tmp_path / "model.onnx").exists()
    assert load_text_classifier(tmp_path).predictor.backend == "paddle"
    assert report["texts"] == {"train": 90, "dev": len((files / "dev.tsv").read_text().splitlines()), "pool": 0}


def test_what_cannot_be_fast_enough_is_refused_with_every_figure(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    strict = profile(int8=False, text_latency_ms=1e-6, max_drop=0.0)
    with pytest.raises(AccuracyDropError, match=r"student fp32 .* ms"):
        compress_ernie(files / "teacher", files / "train.tsv", files / "dev.tsv", None, strict, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_labels_tokens_is_refused(files: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    for file in (files / "teacher").iterdir():
        (teacher / file.name).write_bytes(file.read_bytes())
    token = CONFIG.model_copy(update={"architectures": ("ErnieForTokenClassification",)})
    (teacher / "config.json").write_text(json.dumps(token.model_dump(mode="json")))
    with pytest.raises(DataError, match="labels tokens"):
        compress_ernie(teacher, files / "train.tsv", files / "dev.tsv", None, profile(), tmp_path / "out")


def candidates(values: Sequence[float]) -> list[Candidate]:
    names = [("student", "int8"), ("student", "fp32"), ("teacher", "int8"), ("teacher", "fp32")]
    return [
        Candidate(name, precision, Path("/nowhere-that-exists"), _Backend(), np.zeros((1, 1)), value)  # type: ignore[arg-type]
        for (name, precision), value in zip(names, values, strict=True)
    ]


class _Backend:
    backend = "openvino"


@pytest.mark.parametrize(
    ("values", "times", "limit", "expected"),
    [
        ((0.90, 0.91, 0.90, 0.91), (1, 2, 3, 6), None, "student int8"),
        ((0.89, 0.91, 0.90, 0.91), (1, 2, 3, 6), None, "student fp32"),
        ((0.91, 0.91, 0.91, 0.91), (2, 2, 3, 6), None, "student fp32"),
        ((0.80, 0.85, 0.90, 0.91), (1, 2, 3, 6), None, "teacher int8"),
        ((0.80, 0.85, 0.89, 0.91), (1, 2, 3, 6), None, "teacher fp32"),
        ((0.80, 0.85, 0.89, 0.91), (1, 2, 3, 6), 5.0, None),
        ((0.91, 0.91, 0.91, 0.91), (4, 5, 3, 6), 4.0, "student int8"),
        ((0.91, 0.91, 0.91, 0.91), (4, 5, 3, 6), 3.0, "teacher int8"),
        ((0.91, 0.91, 0.91, 0.91), (4, 5, 3, 6), 2.0, "student int8"),
    ],
)
def test_the_first_that_is_good_and_fast_enough_is_chosen(
    values: Sequence[float],
    times: Sequence[float],
    limit: float | None,
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Candidate, "size_bytes", 1)
    tried = candidates(values)
    measured = {each.variant: (time / 2, time) for each, time in zip(tried, map(float, times), strict=True)}
    rows, chosen = choose(tried, measured, profile(max_drop=0.01, text_latency_ms=limit))
    assert (chosen and chosen.variant) == expected
    assert [row.variant for row in rows if row.chosen] == ([expected] if expected else [])


def test_overconfident_logits_get_a_temperature_above_one() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (4000, 3))
    truth = (random.random((4000, 3)) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    settings = TextSettings(labels=("a", "b", "c"), multi_label=True)
    assert fit_temperature(logits, truth, settings) == pytest.approx(1, rel=0.07)
    assert fit_temperature(3 * logits, truth, settings) == pytest.approx(3, rel=0.07)


def test_calibration_sees_short_and_long_texts() -> None:
    rows = [[1, *[7] * length, 2] for length in range(1, 101)]
    feeds = calibration_feeds(rows, 0)
    widths = [feed["input_ids"].shape[1] for feed in feeds]
    assert widths == sorted(widths)
    assert widths[0] < 25
    assert widths[-1] >= 95
    assert all(feed["input_ids"].dtype == np.int64 for feed in feeds)
    assert len(calibration_feeds(rows[:1], 0)) == 1
