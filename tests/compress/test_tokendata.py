"""Tagged characters: what is read, what is refused with its line, and what the tokens are to learn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress.tokendata import (
    TokenData,
    check_tags,
    read_token_texts,
    tags_of_tokens,
    token_targets,
)
from devices.errors import CheckpointError, DataError
from runtime.entities import Span, spans_in_text
from runtime.tokenizer import SPECIAL_TOKENS, ErnieTokenizer

# every name and amount here is invented
TOKENIZER = ErnieTokenizer([*SPECIAL_TOKENS, *"某甲借元款，", "50", "##0", "visa", "cafe"])
BIO = ("O", "B-name", "I-name", "B-sum", "I-sum")
BIOES = (*BIO, "E-name", "S-name", "E-sum", "S-sum")


def tags(text: str, *spans: tuple[str, str]) -> list[str]:
    """BIO tags of the first place where each (label, words) stands."""
    found = ["O"] * len(text)
    for label, words in spans:
        start = text.index(words)
        found[start : start + len(words)] = [f"B-{label}", *[f"I-{label}"] * (len(words) - 1)]
    return found


def file(directory: Path, rows: Sequence[tuple[str, Sequence[str]]], name: str = "x.jsonl") -> Path:
    path = directory / name
    lines = [json.dumps({"text": text, "labels": list(labels)}, ensure_ascii=False) for text, labels in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def data(directory: Path, rows: Sequence[tuple[str, Sequence[str]]], name: str = "x.jsonl") -> TokenData:
    return read_token_texts(file(directory, rows, name))


TEXT = "某甲 借500元"
TAGS = tags(TEXT, ("name", "某甲"), ("sum", "500元"))


def test_texts_keep_their_white_space_since_tags_count_it(tmp_path: Path) -> None:
    (example,) = data(tmp_path, [(f" {TEXT} ", ["O", *TAGS, "O"])]).examples
    assert example.text == f" {TEXT} "
    assert example.labels == ("O", *TAGS, "O")
    assert example.line == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tsv", "B-x\ta\n", "is no .jsonl file"),
        ("x.jsonl", "", "holds no rows"),
        ("x.jsonl", '{"text": "a"}', "line 1: expected"),
        ("x.jsonl", '{"text": " ", "labels": ["O"]}', "line 1: the text is empty"),
        ("x.jsonl", '{"text": "a", "labels": ["O"]}\n{"text": "ab", "labels": ["O"]}', "line 2: 1 tags for 2 charac"),
        ("x.jsonl", '{"text": "ab", "labels": ["O", "x-B"]}', "line 1: 'x-B' is no tag"),
        ("x.jsonl", '{"text": "a", "labels": ["B-"]}', "line 1: 'B-' is no tag"),
        ("x.jsonl", "[" * 100_000, "line 1: not JSON"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_token_texts(path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("O", "name"), "label 'name' is no tag"),
        (("B-name", "I-name"), "no label O"),
        (("O", "B-name", "I-name", "B-sum"), "type 'sum', but no I-sum"),
        (("O", "I-name"), "type 'name', but no B-name"),
    ],
)
def test_a_model_whose_labels_are_no_tags_is_refused(tmp_path: Path, labels: Sequence[str], message: str) -> None:
    both = data(tmp_path, [(TEXT, TAGS)])
    with pytest.raises(CheckpointError, match=message):
        check_tags(both, both, labels)


@dataclass(frozen=True)
class Types:
    name: str
    train: tuple[str, ...]
    dev: tuple[str, ...]
    message: str | None


@pytest.mark.parametrize(
    "case",
    [
        Types("dev may lack a type", ("B-name", "B-sum"), ("B-sum",), None),
        Types(
            "unknown", ("B-name", "B-sum"), ("B-sum", "B-age"), "dev.jsonl, line 2: .* type 'age'; its types are name"
        ),
        Types("untrained in dev", ("B-name",), ("B-name", "I-sum"), "dev.jsonl, line 2: no text in .* label 'sum'"),
        Types("untrained in the model", ("B-name",), ("B-name",), "train.jsonl has no text with label 'sum'"),
        Types("nothing to measure", ("B-name", "B-sum"), ("O",), "dev.jsonl tags no entity"),
    ],
    ids=lambda case: case.name,
)
def test_types_must_be_the_models_and_all_be_trained(tmp_path: Path, case: Types) -> None:
    train = data(tmp_path, [("王", [tag]) for tag in case.train], "train.jsonl")
    dev = data(tmp_path, [("芳", [tag]) for tag in case.dev], "dev.jsonl")
    if case.message is None:
        check_tags(train, dev, BIO)
    else:
        with pytest.raises(DataError, match=case.message) as caught:
            check_tags(train, dev, BIO)
        assert caught.value.remedy.endswith(".")


def learned(text: str, character_tags: Sequence[str], labels: Sequence[str], directory: Path) -> list[str]:
    targets = token_targets(data(directory, [(text, character_tags)]), TOKENIZER, labels, 32)
    (row,) = targets.rows
    assert row.shape == (len(TOKENIZER.ids(text, 32)), len(labels))
    assert np.isnan(row[[0, -1]]).all()
    assert row[1:-1].sum(axis=1).tolist() == [1] * (len(row) - 2)
    return [labels[index] for index in row[1:-1].argmax(axis=1)]


def test_tokens_learn_the_tags_of_their_characters_in_the_models_scheme(tmp_path: Path) -> None:
    # 王 芳 借 50 ##0 元
    assert learned(TEXT, TAGS, BIO, tmp_path) == ["B-name", "I-name", "O", "B-sum", "I-sum", "I-sum"]
    assert learned(TEXT, TAGS, BIOES, tmp_path) == ["B-name", "E-name", "O", "B-sum", "I-sum", "E-sum"]


def test_a_word_of_many_characters_is_one_token_with_one_tag(tmp_path: Path) -> None:
    assert learned("借VISA", tags("借VISA", ("sum", "VISA")), BIO, tmp_path) == ["O", "B-sum"]
    assert learned("借VISA", tags("借VISA", ("sum", "VISA")), BIOES, tmp_path) == ["O", "S-sum"]


def test_a_token_across_an_entitys_edge_counts_as_part_of_it(tmp_path: Path) -> None:
    assert learned("xyz元", tags("xyz元", ("sum", "z元")), BIO, tmp_path) == ["B-sum", "I-sum"]


def test_of_two_entities_in_one_token_the_first_is_learned(tmp_path: Path) -> None:
    both = tags("xyz元", ("name", "x"), ("sum", "yz元"))
    assert learned("xyz元", both, BIOES, tmp_path) == ["S-name", "S-sum"]


def test_texts_beyond_the_limit_are_cut_and_counted(tmp_path: Path) -> None:
    rows = [("某甲" * 5, ["B-name", "I-name"] * 5), ("王芳", ["B-name", "I-name"])]
    targets = token_targets(data(tmp_path, rows), TOKENIZER, BIO, 8)
    assert [len(row) for row in targets.rows] == [8, 4]
    assert targets.cut == 1
    assert token_targets(data(tmp_path, rows), TOKENIZER, BIO, 12).cut == 0


def test_true_entities_lose_the_edges_that_no_token_stands_for(tmp_path: Path) -> None:
    text = " 某甲\u3000, cafe\u0301。"
    character_tags = ["B-name", *["I-name"] * 3, "O", "O", "B-sum", *["I-sum"] * 4, "O"]
    both = data(tmp_path, [(text, character_tags), ("王 芳", ["O", "B-name", "O"])])
    assert both.spans(TOKENIZER) == [[Span("name", 1, 3), Span("sum", 6, 10)], []]


@st.composite
def tagged(draw: st.DrawFn) -> tuple[str, list[Span]]:
    """A text and entities between edges of tokens."""
    text = draw(st.text("某甲借元款， 50x\u0301Vé\u200b", min_size=1, max_size=30))
    offsets = TOKENIZER.offsets(text, 200)[1:-1]
    spans, token = [], 0
    while token < len(offsets):
        size = draw(st.integers(1, 4))
        last = min(token + size, len(offsets)) - 1
        if draw(st.booleans()):
            spans.append(Span(draw(st.sampled_from(["name", "sum"])), offsets[token][0], offsets[last][1]))
        token = last + 1
    return text, spans


@given(tagged(), st.sampled_from([BIO, BIOES]))
def test_entities_between_tokens_come_back_from_their_tags(case: tuple[str, list[Span]], labels: Sequence[str]) -> None:
    text, spans = case
    offsets = TOKENIZER.offsets(text, 200)
    found = tags_of_tokens(spans, offsets, labels)
    assert set(found) <= set(labels)
    assert spans_in_text(found, offsets) == spans
