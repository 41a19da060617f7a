"""The tokenizer on a small vocabulary; every expectation follows PaddleNLP 2.8.1's rules."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.errors import TokenizerError
from runtime.tokenizer import ErnieTokenizer

TOKENS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "贷", "款", "cafe", "na", "##ive", "$", ",", "，", "50", "000"]
TOKENS += ["##0", "hello", "￥", "a", "$", "≠", "=", "\u2028", "σας", "σασ", "ß"]
VOCAB = ("\n".join(TOKENS) + "\n").encode()


def tokens(text: str, max_length: int = 64, *, lowercase: bool = True) -> list[str]:
    tokenizer = ErnieTokenizer(VOCAB, lowercase)
    ids = tokenizer.ids(text, max_length)
    assert ids[0] == 1
    assert ids[-1] == 2
    return [TOKENS[index] for index in ids[1:-1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t\n\u3000", []),
        ("贷款hello", ["贷", "款", "hello"]),
        ("Café Naïve", ["cafe", "na", "##ive"]),
        ("50,000，", ["50", ",", "000", "，"]),
        ("500", ["50", "##0"]),
        ("￥50", ["￥", "50"]),  # symbols stand alone, unlike in BERT's own tokenizer
        ("he\u200bl\u00adlo", ["hello"]),  # zero width and soft hyphen vanish without a gap
        ("贷\x00\ufffd\x7f款", ["贷", "款"]),
        ("hello\u2028hello", ["hello", "hello"]),
        ("✅贷", ["[UNK]", "贷"]),
        ("\U0001fae0贷", ["[UNK]", "贷"]),  # of Unicode 14: unknown, but not dropped
        ("𠮷款", ["[UNK]", "款"]),
        ("≠", ["="]),  # decomposes into = and a mark
        ("ΣΑΣ", ["σασ"]),  # lower case goes letter by letter: no final sigma
        ("hellox 贷", ["[UNK]", "贷"]),
        ("贷[SEP]款[sep]", ["贷", "[SEP]", "款", "[UNK]", "[UNK]", "[UNK]"]),
        ("hello²", ["hello", "[UNK]"]),  # a number to Unicode, a symbol to PaddleNLP
        ("na" + "ive" * 32, ["na"] + ["##ive"] * 32),
        ("na" + "ive" * 33, ["[UNK]"]),  # 101 characters
    ],
)
def test_text_becomes_the_tokens_that_paddlenlp_gives(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_without_lower_case_accents_and_capitals_stay() -> None:
    assert tokens("Café cafe", lowercase=False) == ["[UNK]", "cafe"]


def test_the_later_of_two_equal_lines_gives_the_id() -> None:
    tokenizer = ErnieTokenizer(VOCAB)
    assert tokenizer.ids("$", 8) == [1, 19, 2]
    assert tokenizer.vocab_size == len(TOKENS)


def test_what_is_too_long_is_cut_before_the_last_separator() -> None:
    assert tokens("贷" * 50, 10) == ["贷"] * 8
    assert tokens("贷", 2) == []
    with pytest.raises(ValueError, match="max_length is 1"):
        tokens("贷", 1)


def test_a_batch_is_padded_to_its_longest_and_no_further_than_the_limit() -> None:
    tokenizer = ErnieTokenizer(VOCAB)
    encoded = tokenizer.encode(["贷", "贷款贷款"], 64)
    assert encoded.input_ids.tolist() == [[1, 5, 2, 0, 0, 0], [1, 5, 6, 5, 6, 2]]
    assert encoded.token_type_ids.tolist() == [[0] * 6] * 2
    assert encoded.lengths == (3, 6)
    assert tokenizer.encode(["贷"], 64, multiple_of=8).input_ids.shape == (1, 8)
    assert tokenizer.encode(["贷" * 99], 13, multiple_of=8).input_ids.shape == (1, 13)


@pytest.mark.parametrize("unit", ["贷", "a ", "x", "é", "[SEP]", "\u200b", "✅"])
def test_a_hundred_thousand_characters_take_no_time(unit: str) -> None:
    tokenizer = ErnieTokenizer(VOCAB)
    start = time.perf_counter()
    assert len(tokenizer.ids(unit * 100_000, 128)) <= 128
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", []),
        (" 贷 款", ["贷", "款"]),
        ("Café Naïve", ["Café", "Na", "ïve"]),
        ("Cafe\u0301 50", ["Cafe", "50"]),  # the accent stands behind the word and in no token
        ("he\u200bl\u00adlo", ["he\u200bl\u00adlo"]),
        ("50,0005", ["50", ",", "0005"]),
        ("HELLO²", ["HELLO", "²"]),
        ("贷[SEP]款", ["贷", "[SEP]", "款"]),
        ("\ud800𠮷款", ["𠮷", "款"]),
        ("x" * 101 + "贷", ["x" * 101, "贷"]),
    ],
)
def test_offsets_say_where_each_token_stands(text: str, places: list[str]) -> None:
    offsets = ErnieTokenizer(VOCAB).offsets(text, 64)
    assert offsets[0] == offsets[-1] == (0, 0)
    assert [text[start:end] for start, end in offsets[1:-1]] == places


def test_pieces_of_one_character_stand_on_it_together() -> None:
    tokens = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "\u1112", "##\u1161", "##\u11ab"]
    assert ErnieTokenizer(tokens).offsets("한", 8) == [(0, 0), (0, 1), (0, 1), (0, 1), (0, 0)]


@given(st.text("贷款 aAé50,[SEP]ï\u200b\u0301ﬁ￥x", max_size=30), st.integers(2, 40), st.booleans())
def test_there_are_as_many_offsets_as_ids_and_they_run_on(text: str, max_length: int, lowercase: bool) -> None:
    tokenizer = ErnieTokenizer(VOCAB, lowercase)
    offsets = tokenizer.offsets(text, max_length)
    assert len(offsets) == len(tokenizer.ids(text, max_length))
    inside = offsets[1:-1]
    assert all(0 <= start < end <= len(text) for start, end in inside)
    assert inside == sorted(inside)


@pytest.mark.parametrize("unit", ["贷", "a ", "x", "[SEP]", "\u200b"])
def test_offsets_of_a_hundred_thousand_characters_take_no_time(unit: str) -> None:
    tokenizer = ErnieTokenizer(VOCAB)
    start = time.perf_counter()
    assert len(tokenizer.offsets(unit * 100_000, 128)) <= 128
    assert time.perf_counter() - start < 2
    with pytest.raises(ValueError, match="max_length is 1"):
        tokenizer.offsets("", 1)


def test_a_vocabulary_without_special_tokens_is_refused_by_name() -> None:
    with pytest.raises(TokenizerError, match=r"lacks \[CLS\], \[MASK\]"):
        ErnieTokenizer(["[PAD]", "[SEP]", "[UNK]", "a"])


def test_a_vocabulary_that_is_missing_or_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="missing"):
        ErnieTokenizer(tmp_path / "vocab.txt")
    with pytest.raises(TokenizerError, match="byte 4 "):
        ErnieTokenizer(b"abc\n\xff\n")


def test_line_ends_of_windows_make_no_other_tokens(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(VOCAB.replace(b"\n", b"\r\n"))
    assert ErnieTokenizer(path).ids("贷款", 8) == [1, 5, 6, 2]


def test_the_ids_of_paddlenlp_itself_are_met(shared: Path) -> None:
    fixture = shared / "fixtures" / "ernie-paddlenlp"
    expected = json.loads((fixture / "expected.json").read_text())
    tokenizer = ErnieTokenizer(fixture / "vocab.txt")
    for case in expected["cases"]:
        assert tokenizer.ids(case["text"], expected["max_seq_len"]) == case["input_ids"]
    batch = [case["text"] for case in expected["cases"][:4]]
    assert tokenizer.encode(batch, 128).input_ids.tolist() == expected["batch_of_first_four"]["input_ids"]


@given(st.text("贷款，hello50 café\u3000$", max_size=120), st.integers(4, 20), st.data())
def test_windows_hold_every_token_and_say_where_they_stand(text: str, longest: int, data: st.DataObject) -> None:
    tokenizer = ErnieTokenizer(VOCAB)
    room, overlap = longest - 2, data.draw(st.integers(0, longest - 3))
    windows = tokenizer.windows(text, longest, overlap)
    whole, places = tokenizer.ids(text, 1000)[1:-1], tokenizer.offsets(text, 1000)[1:-1]
    assert windows[0].ids.tolist() == tokenizer.ids(text, longest)
    assert (windows[0].start, windows[-1].end) == (0, len(text))
    first = 0
    for index, window in enumerate(windows):
        assert [1, *whole[first : first + room], 2] == window.ids.tolist()
        if first:
            assert window.start == places[first][0]
        if index + 1 < len(windows):
            assert window.end == places[first + room - 1][1]
        last = first
        first = min(first + room - overlap, len(whole) - room)
    assert last + room >= len(whole)


def test_an_overlap_that_leaves_no_step_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="an overlap of 6 does not fit into 6 tokens"):
        ErnieTokenizer(VOCAB).windows("贷款", 8, 6)
