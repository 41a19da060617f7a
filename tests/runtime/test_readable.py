"""What a text model can judge, and what it cannot: invented statements, and texts that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.errors import ModelError
from examples.statements.grammar import generate
from runtime.readable import Pairs, why_unreadable

STATEMENTS = Path(__file__).parents[2] / "examples" / "statements"


def written(name: str) -> list[str]:
    return [line.split("\t")[1] for line in (STATEMENTS / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """As compression counts them for the demonstration."""
    texts = written("written_train.tsv") + [each.text for each in (*generate(2000, seed=11), *generate(1000, seed=12))]
    return Pairs.counted(texts, written("written_dev.tsv"))


def test_no_statement_written_by_hand_is_unreadable(pairs: Pairs) -> None:
    statements = [text for part in ("train", "dev", "test") for text in written(f"written_{part}.tsv")]
    assert len(statements) > 1200
    assert [text for text in statements if why_unreadable(text, pairs)] == []


def test_short_purposes_of_any_trade_are_readable(pairs: Pairs) -> None:
    short = (STATEMENTS / "ordinary_short.txt").read_text(encoding="utf-8").splitlines()
    assert len([text for text in short if why_unreadable(text, pairs)]) <= 2  # of 76, full of rare words
    assert [text for text in short if why_unreadable(text)] == []


def test_most_texts_that_are_none_are_unreadable(pairs: Pairs) -> None:
    texts = (STATEMENTS / "unreadable.txt").read_text(encoding="utf-8").splitlines()
    told = [why_unreadable(text, pairs) for text in texts]
    assert sum(why is not None for why in told) >= 0.72 * len(texts)
    assert {"not_chinese", "repeated", "unlike"} <= set(told)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("asdfghjkl", "not_chinese"),
        ("12,000.00", "not_chinese"),
        ("😀！！", "not_chinese"),
        ("I want to borrow money to pay for 装修", "not_chinese"),
        ("住宅購入の資金として借入を希望します", "not_chinese"),
        ("집 수리", "not_chinese"),
        ("啊，啊，啊，啊，啊，啊，啊", "repeated"),
        ("贷款贷款贷款贷款", "repeated"),
        ("买iPhone 15 Pro Max", None),
        ("买优の良品零食", None),
        ("哈哈哈，装修", None),
        ("开一家面馆，差三万。开一家面馆，差三万。", None),
    ],
)
def test_other_scripts_and_repetition_are_told_without_any_table(text: str, why: str | None) -> None:
    assert why_unreadable(text) == why


def test_likeness_falls_with_the_order_of_characters(pairs: Pairs) -> None:
    assert pairs.likeness("想借两万块装修房子") > pairs.likeness("块借房两想子装万修") + 3
    assert why_unreadable("盯刨荤舜坯篓挚鸵蕊砷缮杭", pairs) == "unlike"


def test_one_rare_word_decides_about_no_short_text(pairs: Pairs) -> None:
    assert why_unreadable("蹴鞠", pairs) is None
    assert why_unreadable("蹴鞠鬃氆氇", pairs) is None


def test_a_table_is_written_and_read_the_same_way_twice(pairs: Pairs) -> None:
    data = pairs.to_json().encode()
    again = Pairs.parsed(data, "pairs.json")
    assert again.to_json().encode() == data
    assert again.likeness("想借两万块装修房子") == pairs.likeness("想借两万块装修房子")
    assert len(data) < 300_000


def test_of_very_many_pairs_the_most_frequent_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.readable._MOST_PAIRS", 2)
    table = Pairs.counted(["借新还旧", "新还", "还旧", "新还款"], ["借新还旧"])
    assert table.following == {"新": {"还": 3}, "还": {"旧": 2}}


def test_a_damaged_table_is_refused_by_its_name() -> None:
    with pytest.raises(ModelError, match=r"text-risk/pairs\.json is malformed at typical"):
        Pairs.parsed(b'{"least": -8, "following": {}}', "text-risk/pairs.json")
    with pytest.raises(ModelError, match="malformed at following.借.新"):
        Pairs.parsed('{"typical": -3, "least": -8, "following": {"借": {"新": 0}}}'.encode(), "pairs.json")


def test_few_texts_to_judge_by_make_the_limit_no_stricter() -> None:
    table = Pairs.counted(["借新还旧", "新房装修"], ["借新还旧"])
    assert table.least == pytest.approx(table.likeness("借新还旧") - 4, abs=0.01)
