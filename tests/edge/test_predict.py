"""``predict text`` on checkpoints with either head, as a user calls it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file

from compress.ernie.checkpoint import ErnieConfig
from compress.ernie.model import build_model, model_weights
from compress.paddle_env import paddle
from edge.cli import main
from edge.commands.predict import _entity_table, _label_table
from runtime.text import Entity, TextResult, TokenResult
from runtime.tokenizer import SPECIAL_TOKENS

CHARACTERS = "贷款还旧借新卡网"
BASE = ErnieConfig(
    vocab_size=len(SPECIAL_TOKENS) + len(CHARACTERS),
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
    type_vocab_size=2,
    initializer_range=1.0,
    id2label={0: "O", 1: "B-sum", 2: "I-sum"},
)
TEXTS = "借贷 [red]款\n\n" + "贷款还旧借新卡网" * 3 + "\n"


def predict(directory: Path, head: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run the command on a checkpoint of random weights."""
    config = BASE.model_copy(update={"architectures": (head,)})
    if not directory.exists():
        directory.mkdir()
        paddle.seed(1)
        save_file(model_weights(build_model(config)), directory / "model.safetensors")
        (directory / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
        (directory / "vocab.txt").write_text("\n".join([*SPECIAL_TOKENS, *CHARACTERS]) + "\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXTS.encode())))
    return main(["predict", "text", "--model", str(directory), *arguments])


def results(printed: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(printed)["results"]
    return found


def test_whole_texts_are_answered_with_exactly_the_keys_of_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(tmp_path / "c", "ErnieForSequenceClassification", monkeypatch, "--json") == 0
    found = results(capsys.readouterr().out)
    assert [each["text"] for each in found] == TEXTS.split("\n")[:-1]
    for each in found:
        assert list(each) == ["text", "input_ids", "token_type_ids", "logits", "labels"]
        assert len(each["logits"]) == 3
        assert list(each["labels"]) == list(BASE.labels)


def test_entities_are_answered_with_a_row_of_logits_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(tmp_path / "c", "ErnieForTokenClassification", monkeypatch, "--json") == 0
    found = results(capsys.readouterr().out)
    assert [each["text"] for each in found] == TEXTS.split("\n")[:-1]
    assert [each["cut"] for each in found] == [False, False, True]
    for each in found:
        assert list(each) == ["text", "input_ids", "token_type_ids", "logits", "entities", "cut"]
        assert len(each["input_ids"]) == len(each["token_type_ids"]) == len(each["logits"])
        assert {len(row) for row in each["logits"]} == {3}
    entities = [(each["text"], entity) for each in found for entity in each["entities"]]
    assert entities, "the random weights were chosen so that there are some"
    for text, entity in entities:
        assert list(entity) == ["label", "start", "end", "text", "probability"]
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert entity["label"] == "sum"
        assert 1 / 3 <= entity["probability"] <= 1


def test_a_person_gets_a_table_that_says_what_was_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert predict(tmp_path / "c", "ErnieForTokenClassification", monkeypatch) == 0
    printed = capsys.readouterr().out
    assert "longer than the model reads" in printed
    assert "none" in printed


@pytest.mark.parametrize("table", [_label_table, _entity_table])
def test_a_text_is_no_markup(table: Callable[..., Table], capsys: pytest.CaptureFixture[str]) -> None:
    found = Entity("[sum]", 5, 6, "款", 0.5)
    labelled = TextResult("[red]款", [], [], [], {"[sum]": 0.5}, [(0, 6)])
    tokens = TokenResult("[red]款", [], [], [], [found], cut=False)
    Console(width=100).print(table([labelled if table is _label_table else tokens]))
    printed = capsys.readouterr().out
    assert "[red]款" in printed
    assert "[sum]" in printed
