"""Exported ERNIE networks against the network itself, on every backend."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from compress.ernie.checkpoint import ErnieConfig
from compress.ernie.export import export_checkpoint, export_onnx, export_paddle
from compress.ernie.model import build_model, model_weights
from compress.paddle_env import paddle
from runtime.predictor import Backend, load_predictor, model_files
from runtime.text import load_text_classifier
from tests.compress.ernie.small_ernie import small_config

BASE = small_config(initializer_range=0.5)
SHAPES = {
    "gelu and no task": BASE,
    "relu and task": BASE.model_copy(update={"hidden_act": "relu", "use_task_id": True, "task_id": 2}),
    "one head, pad is 7": BASE.model_copy(
        update={"num_attention_heads": 1, "num_hidden_layers": 1, "layer_norm_eps": 1e-3, "pad_token_id": 7}
    ),
    "per token": BASE.model_copy(update={"architectures": ("ErnieForTokenClassification",)}),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
def test_every_backend_agrees_with_the_network(tmp_path: Path, config: ErnieConfig) -> None:
    paddle.seed(0)
    model = build_model(config)
    model.train()
    export_paddle(model, tmp_path / "paddle")
    export_onnx(model, tmp_path / "onnx" / "model.onnx")
    assert model.training, "exporting must leave the network as it was"
    model.eval()
    ids = np.random.default_rng(0).integers(8, 40, (3, 11))
    ids[1, 6:] = config.pad_token_id
    types = np.random.default_rng(1).integers(0, 2, (3, 11))
    expected = model(paddle.to_tensor(ids), paddle.to_tensor(types)).numpy()
    assert np.abs(expected - expected[0]).max() > 0.05, "the network must answer different texts differently"
    backends: list[tuple[Backend, str]] = [("paddle", "paddle"), ("openvino", "paddle")]
    backends += [("openvino", "onnx"), ("onnxruntime", "onnx")]
    for backend, directory in backends:
        predictor = load_predictor(model_files(tmp_path / directory, "m"), backend)
        for rows, columns in ((3, 11), (1, 6)):  # a padded batch, and the same text alone without its padding
            first = 1 if rows == 1 else 0
            feeds = {"input_ids": ids[first : first + rows, :columns], "token_type_ids": types[first:][:rows, :columns]}
            (got,) = predictor.run(feeds).values()
            want = expected[first : first + rows]
            np.testing.assert_allclose(
                got, want[:, :columns] if config.head == "token" else want, atol=2e-5, err_msg=f"{backend} {directory}"
            )


def test_a_checkpoint_becomes_an_artifact_that_classifies(tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    config = BASE.model_copy(update={"problem_type": "multi_label_classification"})
    (source / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    tokens = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *"贷款还旧借新卡网"]
    (source / "vocab.txt").write_text("\n".join(tokens) + "\n")
    save_file(model_weights(build_model(config)), source / "model.safetensors")
    answers = []
    for format_ in ("paddle", "onnx"):
        artifact = export_checkpoint(source, tmp_path / format_, format_)
        assert artifact.text is not None
        assert artifact.text.labels == ("a", "b", "c")
        answers.append(load_text_classifier(tmp_path / format_).classify(["借新还旧", "贷款"]))
    for left, right in zip(*answers, strict=True):
        np.testing.assert_allclose(left.logits, right.logits, atol=1e-5)
        assert left.input_ids == right.input_ids


@pytest.mark.parametrize("backend", ["paddle", "openvino", "onnxruntime"])
def test_paddlenlps_own_logits_are_met(tmp_path: Path, shared: Path, backend: Backend) -> None:
    fixture = shared / "fixtures" / "ernie-paddlenlp"
    expected = json.loads((fixture / "expected.json").read_text())
    export_checkpoint(fixture, tmp_path, "paddle" if backend == "paddle" else "onnx")
    classifier = load_text_classifier(tmp_path, backend)
    texts = [case["text"] for case in expected["cases"]]
    together = classifier.classify(texts, allow_empty=True)
    for case, batched in zip(expected["cases"], together, strict=True):
        (alone,) = classifier.classify([case["text"]], allow_empty=True)
        assert alone.input_ids == batched.input_ids == case["input_ids"]
        assert alone.token_type_ids == case["token_type_ids"]
        np.testing.assert_allclose([alone.logits, batched.logits], [case["logits"]] * 2, atol=1e-5)
