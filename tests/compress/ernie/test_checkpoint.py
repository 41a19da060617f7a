"""Checkpoints that are whole, damaged and hostile."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compress.ernie.checkpoint import ErnieConfig, Weights, read_checkpoint, weight_shapes, write_checkpoint
from devices.errors import CheckpointError, TokenizerError

VOCAB = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *"贷款还旧借新卡网"]
CONFIG = {
    "architectures": ["ErnieForSequenceClassification"],
    "model_type": "ernie",
    "vocab_size": 16,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
    "type_vocab_size": 2,
    "use_task_id": True,
    "task_type_vocab_size": 3,
    "id2label": {"0": "normal", "1": "risk"},
    "problem_type": "multi_label_classification",
}


def random_weights(config: ErnieConfig, seed: int = 0) -> Weights:
    random = np.random.default_rng(seed)
    return {name: random.normal(0, 0.2, shape).astype(np.float32) for name, shape in weight_shapes(config).items()}


def write(
    directory: Path,
    weights: Any = None,
    *,
    config: dict[str, Any] | None = None,
    vocab: list[str] = VOCAB,
    protocol: int = 4,
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    content = CONFIG if config is None else config
    (directory / "config.json").write_text(json.dumps(content))
    (directory / "vocab.txt").write_text("\n".join(vocab) + "\n")
    weights = random_weights(ErnieConfig.model_validate(CONFIG)) if weights is None else weights
    with (directory / "model_state.pdparams").open("wb") as file:
        pickle.dump(weights, file, protocol=protocol)
    return directory


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_pickled_checkpoint_is_read_as_written(tmp_path: Path, protocol: int) -> None:
    weights = random_weights(ErnieConfig.model_validate(CONFIG))
    content = {**weights, "StructuredToParameterName@@": {"a": "embedding_0.w_0"}}
    content["classifier.weight"] = np.asfortranarray(weights["classifier.weight"])
    got = read_checkpoint(write(tmp_path, content, protocol=protocol))
    assert got.config.labels == ("normal", "risk")
    assert got.settings().multi_label
    assert got.settings().max_length == 32
    assert got.lowercase
    assert got.weights.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(got.weights[name], array)


def test_half_precision_safetensors_are_read_in_place_of_a_pickle(tmp_path: Path) -> None:
    weights = random_weights(ErnieConfig.model_validate(CONFIG))
    write(tmp_path)
    (tmp_path / "model_state.pdparams").write_bytes(b"never looked at")
    save_file({name: array.astype(np.float16) for name, array in weights.items()}, tmp_path / "model.safetensors")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    got = read_checkpoint(tmp_path)
    assert not got.lowercase
    assert got.weights["classifier.bias"].dtype == np.float32
    np.testing.assert_allclose(got.weights["classifier.weight"], weights["classifier.weight"], atol=1e-3)


class Call:
    """Pickles as a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def test_a_pickle_that_calls_the_shell_runs_nothing_and_is_named(tmp_path: Path) -> None:
    import os

    marker = tmp_path / "ran"
    write(tmp_path / "c", {"x": Call(os.system, f"touch {marker}")})
    with pytest.raises(CheckpointError, match=r"asks for (posix|nt)\.system"):
        read_checkpoint(tmp_path / "c")
    assert not marker.exists()


@pytest.mark.parametrize("function", [eval, exec, getattr, __import__, np.load, io.open, pickle.loads])
def test_every_other_global_is_refused_too(tmp_path: Path, function: Callable[..., Any]) -> None:
    with pytest.raises(CheckpointError, match="asks for"):
        read_checkpoint(write(tmp_path, {"x": Call(function, "1")}))


def test_a_stand_in_cannot_be_changed_for_later_loads(tmp_path: Path) -> None:
    # BUILD on the global itself with attributes to set: (None, {"name": "os.system"})
    evil = b"cnumpy\ndtype\n(N}X\x04\x00\x00\x00nameX\x09\x00\x00\x00os.systems" + b"tb."
    write(tmp_path / "evil")
    (tmp_path / "evil" / "model_state.pdparams").write_bytes(evil)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "evil")
    read_checkpoint(write(tmp_path / "good"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04",
        b"not a pickle",
        b"\x80\x04]\x94.",
        b"(lp0\nI1\na.",
        b"\x80\x04N\x93.",
        b"\x80\x04}(K\x01K\x02u.",
    ],
)
def test_a_damaged_pickle_is_reported_not_raised_through(tmp_path: Path, content: bytes) -> None:
    write(tmp_path)
    (tmp_path / "model_state.pdparams").write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path)


def test_every_cut_of_a_pickle_is_reported(tmp_path: Path) -> None:
    write(tmp_path)
    whole = (tmp_path / "model_state.pdparams").read_bytes()
    for end in range(0, len(whole) - 1, 37):
        (tmp_path / "model_state.pdparams").write_bytes(whole[:end])
        with pytest.raises(CheckpointError):
            read_checkpoint(tmp_path)


def changed(**changes: Any) -> Weights:
    weights = random_weights(ErnieConfig.model_validate(CONFIG))
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del weights[name]
        else:
            weights[name] = value
    return weights


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (changed(classifier__bias=None), r"lacks 1 weights.*classifier\.bias of shape \[2\]"),
        (changed(cls__extra=np.zeros((3, 4), np.float32)), r"no place for.*cls\.extra of shape \[3, 4\]"),
        (changed(classifier__bias=np.zeros(3, np.float32)), r"classifier\.bias has shape \[3\].*\[2\]"),
        (changed(classifier__bias=np.zeros(2, np.int64)), r"classifier\.bias is int64"),
        (changed(classifier__bias=np.array([0, np.nan], np.float32)), r"classifier\.bias holds .* not finite"),
        (changed(classifier__bias=[0.0, 1.0]), r"classifier\.bias of the checkpoint is no array"),
        (changed(classifier__bias=np.array(["a", "b"])), r"classifier\.bias is of type <U1"),
        (changed(classifier__bias=np.array([object(), 1])), "asks for"),
        ({1: np.zeros(1)}, "names a weight 1"),
        ([1, 2], "holds a list"),
    ],
)
def test_a_weight_that_does_not_fit_is_named(tmp_path: Path, weights: Any, message: str) -> None:
    if "asks for" in message:
        weights["classifier.bias"] = np.array([Call(eval, "1"), 1], dtype=object)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(tmp_path, weights))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 0}, "hidden_size"),
        ({"num_attention_heads": 3}, "no multiple of 3 heads"),
        ({"attention_head_size": 0}, "attention_head_size"),
        ({"hidden_act": "swish"}, "hidden_act"),
        ({"model_type": "bert"}, "model_type"),
        ({"architectures": ["BertModel"]}, "architectures"),
        ({"id2label": {"0": "a", "2": "b"}}, "id2label"),
        ({"id2label": {"0": "a", "1": "a"}}, "twice"),
        ({"task_id": 3}, "task_id"),
        ({"pad_token_id": 16}, "pad_token_id"),
        ({"pad_token_id": 4}, r"\[PAD\] is token 0"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused_at_its_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(write(tmp_path, config={**CONFIG, **change}))


def test_the_vocabulary_must_fit_the_embedding(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="17 tokens.*16 rows"):
        read_checkpoint(write(tmp_path, vocab=[*VOCAB, "a", "b", "c", "d"]))
    with pytest.raises(CheckpointError, match="13 tokens.*4000 rows"):
        read_checkpoint(write(tmp_path, config={**CONFIG, "vocab_size": 4000}))
    with pytest.raises(TokenizerError, match="lacks"):
        read_checkpoint(write(tmp_path, vocab=VOCAB[1:]))


def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="config.json is missing"):
        read_checkpoint(tmp_path)
    write(tmp_path)
    (tmp_path / "model_state.pdparams").unlink()
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="model.safetensors cannot be read"):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="expected an object"):
        read_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="is not JSON"):
        read_checkpoint(tmp_path)


def test_two_labels_are_meant_where_none_are_named(tmp_path: Path) -> None:
    config = {key: value for key, value in CONFIG.items() if key != "id2label"}
    assert read_checkpoint(write(tmp_path, config=config)).config.labels == ("LABEL_0", "LABEL_1")


def test_a_checkpoint_that_the_kit_writes_comes_back_bit_for_bit(tmp_path: Path) -> None:
    write(tmp_path / "first")
    first = read_checkpoint(tmp_path / "first")
    write_checkpoint(tmp_path / "second", first)
    second = read_checkpoint(tmp_path / "second")
    assert second.config == first.config
    assert (second.vocab, second.lowercase) == (first.vocab, first.lowercase)
    assert {name: array.tobytes() for name, array in second.weights.items()} == {
        name: array.tobytes() for name, array in first.weights.items()
    }


def test_pruned_heads_are_written_with_their_size_and_whole_ones_as_paddlenlp_does(tmp_path: Path) -> None:
    write(tmp_path / "whole")
    whole = read_checkpoint(tmp_path / "whole")
    config = whole.config.model_copy(update={"num_attention_heads": 1, "attention_head_size": 4})
    shapes = weight_shapes(config)
    assert shapes["ernie.encoder.layers.0.self_attn.k_proj.weight"] == (8, 4)
    assert shapes["ernie.encoder.layers.0.self_attn.out_proj.weight"] == (4, 8)
    write_checkpoint(tmp_path / "pruned", replace(whole, config=config, weights=random_weights(config)))
    assert read_checkpoint(tmp_path / "pruned").config == config
    write_checkpoint(tmp_path / "again", whole)
    assert "attention_head_size" not in json.loads((tmp_path / "again" / "config.json").read_text())
