"""Public texts into parts: what reads the same stands on one side."""

from __future__ import annotations

import gzip
from pathlib import Path

from benchmarks.textsplit import SHARES, frequent_only, same_text_key, split_by_text, write_pool, write_task

TEXTS = [f"第{number}号公司公告，股东减持{number}万股" for number in range(400)]


def test_texts_that_differ_in_spaces_and_punctuation_are_the_same() -> None:
    assert same_text_key("利率，太高了！ ABC") == same_text_key("利率太高了abc")
    assert same_text_key("利率太高了") != same_text_key("利率太低了")
    assert same_text_key("？！") != same_text_key("。")


def test_what_reads_the_same_falls_into_one_part() -> None:
    rows = [("0", text) for text in TEXTS]
    twins = [("1", text.replace("，", " ") + "！") for text in TEXTS]
    parts = split_by_text([*rows, *twins])
    assert sum(map(len, parts.values())) == 800
    places = {name: {same_text_key(text) for _, text in part} for name, part in parts.items()}
    assert not places["train"] & places["dev"]
    assert not places["train"] & places["test"]
    assert not places["dev"] & places["test"]


def test_the_parts_have_about_their_shares() -> None:
    parts = split_by_text([("0", text) for text in TEXTS])
    assert list(parts) == [name for name, _ in SHARES]
    for name, share in SHARES:
        assert abs(len(parts[name]) / len(TEXTS) - share) < 0.07


def test_a_row_more_moves_no_other_and_another_seed_moves_many() -> None:
    rows = [("0", text) for text in TEXTS]
    before, after = split_by_text(rows), split_by_text([("1", "新的一行"), *rows])
    assert all(set(before[name]) <= set(after[name]) for name in before)
    assert set(split_by_text(rows, seed=2)["test"]) != set(before["test"])


def test_only_the_most_frequent_labels_stay() -> None:
    rows = [("a", "1"), ("b", "2"), ("b", "3"), ("c", "4"), ("c", "5")]
    assert frequent_only(rows, 2) == rows[1:]
    assert frequent_only(rows, 9) == rows


def test_task_files_hold_each_text_once_and_are_the_same_every_time(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "text_fincuge"
    folder.mkdir(parents=True)
    content = "".join(f"{number % 3}\t{text}\t尾部\n" for number, text in enumerate(TEXTS))
    with gzip.open(folder / "toy.tsv.gz", "wt", encoding="utf-8") as file:
        file.write(content + "0\t \n")
    task = write_task("toy", tmp_path / "a", tmp_path / "shared")
    again = write_task("toy", tmp_path / "b", tmp_path / "shared")
    assert set(task.labels) == {"0", "1", "2"}
    lines = [line for file in (task.train, task.dev, task.test) for line in file.read_text("utf-8").splitlines()]
    assert sorted(lines) == sorted(f"{number % 3}\t{text} 尾部" for number, text in enumerate(TEXTS))
    assert task.test.read_bytes() == again.test.read_bytes()


def test_the_pool_holds_every_sentence_once(tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "text_bank_pairs"
    folder.mkdir(parents=True)
    with gzip.open(folder / "one.tsv.gz", "wt", encoding="utf-8") as file:
        file.write('label\ts1\ts2\n1\t怎么还款\t如何"还款\n0\t怎么还款\t额度  多少\n')
    path = write_pool(tmp_path / "out" / "pool.txt", tmp_path / "shared")
    assert path.read_text("utf-8").splitlines() == ["怎么还款", '如何"还款', "额度 多少"]
