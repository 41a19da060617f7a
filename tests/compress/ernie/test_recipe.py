"""The recipe on a teacher of random weights, whose own answers serve as the truth."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compress.ernie import steps
from compress.ernie.checkpoint import Checkpoint, ErnieConfig, read_checkpoint, write_checkpoint
from compress.ernie.distill import closest_start
from compress.ernie.measure import Bench, Candidate
from compress.ernie.model import build_model, model_weights
from compress.ernie.recipe import compress_ernie, plan_ernie
from compress.ernie.results import Results
from compress.gate import Verdict
from compress.paddle_env import paddle
from devices.errors import AccuracyDropError, BackendNotInstalledError, TeacherError
from devices.profile import Profile, load_profile
from edge.convert import text_artifact
from runtime.choice import check_parity, read_golden
from runtime.text import TokenClassifier, load_text_classifier, load_text_model
from runtime.tokenizer import SPECIAL_TOKENS
from tests.compress.ernie.small_ernie import small_config

CHARACTERS = "贷款还旧借新卡网天地人你我他上下左右"
CONFIG = small_config(
    vocab_size=len(SPECIAL_TOKENS) + len(CHARACTERS),
    max_position_embeddings=64,
    initializer_range=0.4,
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
    def start(teacher: Checkpoint, student: ErnieConfig, rows: Any, targets: Any, *, seed: int, **_: Any) -> Checkpoint:
        weights = closest_start(teacher.weights, teacher.config, student, rows, seed=seed)
        return replace(teacher, config=student, weights=weights)

    monkeypatch.setattr(steps, "distil", start)


def with_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """INT8 takes half the time; in truth so small a network gains none, and a busy machine would choose."""
    times = {"int8": (1.0, 1.0), "fp32": (2.0, 2.0)}
    monkeypatch.setattr(Bench, "latencies", lambda _, tried: {each.variant: times[each.precision] for each in tried})


Rows = list[dict[str, Any]]


def run(files: Path, out: Path, profile: Profile, *recipes: str, **more: Any) -> dict[str, Any]:
    data = (files / "teacher", files / "train.tsv", files / "dev.tsv", files / "pool.txt")
    return compress_ernie(*data, profile, out, recipes=recipes, **more)


def test_an_artifact_comes_out_that_serves_and_proves_itself(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    seen: list[tuple[str, float]] = []
    report = run(files, tmp_path / "out", profile(), "distil", progress=lambda *each: seen.append(each))
    assert {"artifact.json", "vocab.txt", "model.onnx", "golden.npz", "report.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    rows: Rows = report["rows"]
    assert [row["variant"] for row in rows] == ["teacher fp32", "student fp32", "student int8"]
    assert rows[0]["value"] == 1.0
    assert rows[0]["by_label"] == {"a": 1.0, "b": 1.0, "c": 1.0}
    assert rows[0]["verdict"].startswith("The reference.")
    assert [row["variant"] for row in rows if row["chosen"]] == [report["chosen"]]
    assert all(row["backend"] == "openvino" and row["latency_ms"] > 0 for row in rows)
    assert {stage.partition("\n")[0] for stage, _ in seen} == {
        *("read", "measure the teacher", "vocabulary", "measure the student", "quantize the student", "done")
    }
    classifier = load_text_classifier(tmp_path / "out")
    golden = read_golden((tmp_path / "out" / "golden.npz").read_bytes())
    check_parity(classifier.predictor, golden, tolerance=1e-4)
    (answer,) = classifier.classify(["借新还旧"])
    assert answer.labels.keys() == {"a", "b", "c"}
    assert classifier.settings.window == 30  # one in a hundred texts has more than 28 characters
    assert classifier.unreadable("龘靐齉爩麤龗灪蠿囧槑烎嫑嘂") == "unlike"
    assert classifier.unreadable("贷款还旧借新卡网天地人") is None  # at random, as all texts here are
    assert report["notes"][-1].startswith("Expected calibration error of the probabilities on dev: 0.")


def test_left_to_itself_it_stops_at_the_first_recipe_that_passes(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def learn(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing needs to be learned")

    monkeypatch.setattr(steps, "distil", learn)
    report = run(files, tmp_path / "out", profile(max_drop=0.1, int8=False))
    assert report["chosen"] == "pruned teacher fp32"


def test_a_recipe_that_fails_is_followed_by_a_dearer_one(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    # the teacher is as large as it is: only the student, with half its layers, keeps to the size
    report = run(files, tmp_path / "out", profile(int8=False, text_size_mb=0.052))
    rows: Rows = report["rows"]
    assert [row["variant"] for row in rows] == ["teacher fp32", "pruned teacher fp32", "student fp32"]
    assert report["chosen"] == "student fp32"
    assert "MB large where" in rows[1]["verdict"]


def test_for_backend_paddle_the_artifact_is_paddles(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    report = run(files, tmp_path / "out", profile(backends=("paddle",)), "distil")
    assert (tmp_path / "out" / "inference.pdmodel").is_file()
    assert not (tmp_path / "out" / "model.onnx").exists()
    assert load_text_classifier(tmp_path / "out").predictor.backend == "paddle"
    texts = report["texts"]
    assert texts["train"] == 90
    assert texts["dev"] == len((files / "dev.tsv").read_text().splitlines())


def test_where_nothing_passes_the_nearest_is_named_with_what_it_lacks(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    strict = profile(int8=False, text_latency_ms=1e-6, max_drop=0.9)
    with pytest.raises(AccuracyDropError, match=r"Nearest is .* fp32, with .* it takes .* ms") as caught:
        run(files, tmp_path / "out", strict, "distil")
    assert not (tmp_path / "out").exists()
    report = json.loads((tmp_path / "out.stages" / "report.json").read_text())
    assert [row["chosen"] for row in report["rows"]] == [False, False]
    assert str(tmp_path / "out.stages" / "report.md") in caught.value.state


def test_an_earlier_artifact_outlives_a_run_that_fails(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    run(files, tmp_path / "out", profile(int8=False), "quantize")
    before = (tmp_path / "out" / "model.onnx").read_bytes()
    with pytest.raises(AccuracyDropError):
        run(files, tmp_path / "out", profile(int8=False, text_latency_ms=1e-6), "quantize")
    assert (tmp_path / "out" / "model.onnx").read_bytes() == before


def test_training_with_the_rounding_in_place_goes_the_whole_way(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    judge = Results.judge

    def only_trained(results: Results, candidate: Candidate) -> Verdict:
        verdict = judge(results, candidate)
        return replace(verdict, passed=candidate.precision == "fp32" or candidate.how == "qat")

    monkeypatch.setattr(Results, "judge", only_trained)
    with_times(monkeypatch)
    report = run(files, tmp_path / "out", profile(), "distil")
    rows: Rows = report["rows"]
    variants = ["teacher fp32", "student fp32", "student int8", "student int8 qat"]
    assert [row["variant"] for row in rows] == variants
    assert report["chosen"] == "student int8 qat"
    (stage,) = (tmp_path / "out.stages").glob("qat-*")
    assert read_checkpoint(stage).config.num_hidden_layers == 1
    classifier = load_text_classifier(tmp_path / "out")
    assert classifier.predictor.precision == "int8"
    check_parity(classifier.predictor, read_golden((tmp_path / "out" / "golden.npz").read_bytes()), tolerance=1e-4)


def test_finished_stages_are_not_made_again(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    without_training(monkeypatch)
    with_times(monkeypatch)
    start = steps.distil
    monkeypatch.setattr(steps, "distil", lambda *a, **k: calls.append(1) or start(*a, **k))
    run(files, tmp_path / "out", profile(), "distil")
    plan = plan_ernie(
        files / "teacher", files / "train.tsv", files / "dev.tsv", files / "pool.txt", profile(), tmp_path / "out"
    )
    kept = {each["stage"]: each["kept"] for each in plan["plan"]}  # type: ignore[attr-defined]
    assert kept == {"vocabulary": True, "distil": True, "narrow": False, "quantize and measure": False}
    first = (tmp_path / "out" / "model.onnx").read_bytes()
    run(files, tmp_path / "out", profile(), "distil")
    assert len(calls) == 1
    assert (tmp_path / "out" / "model.onnx").read_bytes() == first
    run(files, tmp_path / "out", profile(), "distil", seed=1)
    assert len(calls) == 2


def test_a_teacher_worse_than_chance_is_refused(files: Path, tmp_path: Path) -> None:
    turned = read_checkpoint(files / "teacher")
    weights = turned.weights | {name: -turned.weights[name] for name in ("classifier.weight", "classifier.bias")}
    write_checkpoint(tmp_path / "teacher", replace(turned, weights=weights))
    with pytest.raises(TeacherError, match="never looks at the text"):
        compress_ernie(tmp_path / "teacher", files / "train.tsv", files / "dev.tsv", None, profile(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_backend_that_is_not_installed_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "runtime.backends.openvino", raising=False)
    missing = tmp_path / "missing"
    with pytest.raises(BackendNotInstalledError):
        compress_ernie(missing, missing, missing, None, profile(), tmp_path / "out")


def test_a_plan_writes_nothing(files: Path, tmp_path: Path) -> None:
    plan = plan_ernie(files / "teacher", files / "train.tsv", files / "dev.tsv", None, profile(), tmp_path / "out")
    entries: Rows = plan["plan"]  # type: ignore[assignment]
    assert [each["recipe"] for each in entries].count("distil") == 2
    assert all(each["seconds"] > 0 for each in entries)
    assert not list(tmp_path.iterdir())


def test_a_teacher_that_labels_tokens_is_compressed_by_what_it_finds(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_training(monkeypatch)
    tags = ("O", "B-x", "I-x")
    config = CONFIG.model_copy(
        update={"architectures": ("ErnieForTokenClassification",), "id2label": dict(enumerate(tags))}
    )
    paddle.seed(6)
    teacher = replace(read_checkpoint(files / "teacher"), config=config, weights=model_weights(build_model(config)))
    write_checkpoint(tmp_path / "teacher", teacher)
    tagger = load_text_model(text_artifact(tmp_path / "teacher", "openvino"))
    assert isinstance(tagger, TokenClassifier)
    texts = [example.split("\t")[1] for example in (files / "train.tsv").read_text().splitlines()]
    for name, part in (("train", texts[:60]), ("dev", texts[60:])):
        lines = []
        for text, result in zip(part, tagger.extract(part), strict=True):
            labels = ["O"] * len(text)
            for entity in result.entities:
                labels[entity.start : entity.end] = ["B-x", *["I-x"] * (entity.end - entity.start - 1)]
            lines.append(json.dumps({"text": text, "labels": labels}, ensure_ascii=False))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    data = (tmp_path / "teacher", tmp_path / "train.jsonl", tmp_path / "dev.jsonl", None)
    report = compress_ernie(*data, profile(), tmp_path / "out", recipes=["quantize"])
    rows: Rows = report["rows"]  # type: ignore[assignment]
    assert {row["metric"] for row in rows} == {"entity F1"}
    assert all(row["by_label"].keys() == {"x"} for row in rows)
    assert rows[0]["value"] == 1.0
    model = load_text_model(tmp_path / "out")
    assert isinstance(model, TokenClassifier)
    assert model.settings.labels == tags
