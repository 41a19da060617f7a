"""Files of texts: what is read, and what is refused with its line."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compress import textdata
from compress.textdata import check_labels, read_pool, read_texts, separated, without
from devices.errors import DataError


def file(directory: Path, name: str, content: str | bytes) -> Path:
    path = directory / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


TSV = "a\t借新还旧\nb,a\tone\ttwo\n"
JSONL = '{"text": "借新还旧", "labels": ["a"]}\n{"text": "one\\ttwo", "labels": ["b", "a", "b"], "id": 7}'


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.tsv", TSV), ("x.tsv.gz", TSV), ("x.tsv", "\ufeff" + TSV.replace("\n", "\r\n")), ("x.jsonl", JSONL)],
)
def test_both_forms_say_the_same(tmp_path: Path, name: str, content: str) -> None:
    data = read_texts(file(tmp_path, name, content))
    assert data.texts == ["借新还旧", "one\ttwo"]
    assert [example.labels for example in data.examples] == [("a",), ("b", "a")]
    assert [example.line for example in data.examples] == [1, 2]
    np.testing.assert_array_equal(data.targets(["b", "c", "a"]), [[0, 0, 1], [1, 0, 1]])


def test_a_pool_is_its_lines_without_the_empty_ones(tmp_path: Path) -> None:
    assert read_pool(file(tmp_path, "pool.txt.gz", "一\n\n 二 \n")) == ["一", "二"]
    with pytest.raises(DataError, match="holds no texts"):
        read_pool(file(tmp_path, "pool.txt", "\n \n"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.tsv", "", "holds no rows"),
        ("x.tsv", "a\tx\n\na\ty\n", "line 2: there is no tab"),
        ("x.tsv", "a\tx\nb y\n", "line 2: there is no tab"),
        ("x.tsv", "a\t \n", "line 1: the text is empty"),
        ("x.tsv", "\tx\n", "line 1: a label is empty"),
        ("x.tsv", "a,,b\tx\n", "line 1: a label is empty"),
        ("x.tsv", b"a\tx\na\t\xff\n", "line 2: byte 2 is not UTF-8"),
        ("x.jsonl", '{"text": "x"}', "line 1: expected"),
        ("x.jsonl", '{"text": "x", "labels": "a"}', "line 1: expected"),
        ("x.jsonl", '{"text": "x", "labels": []}', "line 1: a label is empty"),
        ("x.jsonl", '{"text": "x", "labels": ["a"]}\n[1]', "line 2: expected"),
        ("x.jsonl", '{"text": ', "line 1: not JSON"),
        ("x.csv", "a,x", "neither .tsv nor .jsonl"),
    ],
)
def test_what_is_malformed_is_named_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_texts(file(tmp_path, name, content))


def test_files_that_cannot_be_unpacked_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is missing"):
        read_texts(tmp_path / "no.tsv")
    whole = gzip.compress(TSV.encode())
    for content in (b"plain", whole[:-9], whole[:12] + b"\xff\xff\xff\xff" + whole[16:]):
        path = tmp_path / "x.tsv.gz"
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read"):
            read_texts(path)


@pytest.mark.parametrize(
    ("train", "dev", "multi", "message"),
    [
        ("a\tx\nb\ty\n", "b\tz\n", False, None),
        ("a,b\tx\n", "a\tz\n", True, None),
        ("a,b\tx\n", "a\tz\n", False, "train.tsv, line 1: 2 labels"),
        ("a\tx\nc\ty\n", "a\tz\n", True, "train.tsv, line 2: the model has no label 'c'; its labels are a, b"),
        ("a\tx\n", "a\tz\nb\tw\n", True, "dev.tsv, line 2: no text in .*train.tsv has label 'b'"),
        ("a\tx\n", "a\tz\n", True, "train.tsv has no text with label 'b'"),
    ],
)
def test_labels_must_be_the_models_and_all_be_trained(
    tmp_path: Path, train: str, dev: str, multi: bool, message: str | None
) -> None:
    data = [read_texts(file(tmp_path, name, text)) for name, text in (("train.tsv", train), ("dev.tsv", dev))]
    if message is None:
        check_labels(*data, ["a", "b"], multi_label=multi)
    else:
        with pytest.raises(DataError, match=message) as caught:
            check_labels(*data, ["a", "b"], multi_label=multi)
        assert caught.value.remedy != DataError.default_remedy, "each of these is mended in its own way"


def test_a_file_that_would_fill_the_memory_is_refused_unpacked_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textdata, "_LARGEST", 2**20)
    rows = f"a\t{'x' * 125}\n" * (2**13 + 1)
    for name in ("x.tsv", "x.tsv.gz"):
        with pytest.raises(DataError, match="holds more than 1 MiB"):
            read_texts(file(tmp_path, name, rows))
    assert len(read_texts(file(tmp_path, "y.tsv.gz", rows[:-128])).examples) == 2**13


def test_dev_loses_what_train_has_and_the_pool_what_either_has(tmp_path: Path) -> None:
    train = read_texts(file(tmp_path, "train.tsv", "a\t借新还旧\nb\tVISA 卡\na\t天\nb\t天\n"))
    dev = read_texts(file(tmp_path, "dev.tsv", "a\t地\nb\t借 新还旧\nb\tｖｉｓａ卡\na\t人\nb\t地\n"))
    kept, pool, notes = separated(train, dev, ["你", "人", "我", "你 ", "天"])
    assert [(each.text, each.line) for each in kept.examples] == [("地", 1), ("人", 4)]
    assert kept.path == dev.path
    assert pool == ["你", "我"]
    assert [note.replace(str(tmp_path) + "/", "") for note in notes] == [
        "Left out of dev.tsv, because train.tsv has them too: 2 of 5 texts.",
        "Left out of dev.tsv, because it has them more than once: 1 of 5 texts.",
        "Left out of the pool, because they are labelled or stand there more than once: 3 of 5 texts.",
        "In train.tsv more than once, with different labels: 1 of 3 texts.",
    ]


def test_data_without_overlap_stays_as_it_is_with_nothing_to_say(tmp_path: Path) -> None:
    train, dev = (
        read_texts(file(tmp_path, name, text)) for name, text in (("t.tsv", "a\tx\na\tx\n"), ("d.tsv", "a\ty\n"))
    )
    assert separated(train, dev, ["z"]) == (dev, ["z"], ())


def test_a_dev_that_is_all_in_train_is_refused(tmp_path: Path) -> None:
    data = read_texts(file(tmp_path, "x.tsv", TSV))
    with pytest.raises(DataError, match=r"All 2 texts .* nothing is left to measure on") as caught:
        separated(data, data)
    assert "not seen" in caught.value.remedy


@given(st.lists(st.text("ab AＡ", max_size=3)), st.lists(st.text("ab AＡ", max_size=3)))
def test_what_is_left_of_a_pool_is_new_and_stands_once(pool: list[str], texts: list[str]) -> None:
    kept = without(pool, texts)
    assert without(kept, texts) == kept
    assert without(pool, kept + texts) == []
    rest = iter(pool)
    assert all(text in rest for text in kept), "in their order"
    assert len({"".join(text.split()).replace("Ａ", "a").lower() for text in kept}) == len(kept)
