"""The invented statements keep to their format and their labelling rules."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from examples.statements import grammar
from examples.statements.numerals import hanzi, money, spoken

FOLDER = Path(grammar.__file__).parent
WRITTEN = FOLDER / "written_train.tsv"
SAMPLE_SIZE = 4000


@pytest.fixture(scope="module")
def sample() -> list[grammar.Statement]:
    return list(grammar.generate(SAMPLE_SIZE, seed=3))


@pytest.fixture(scope="module")
def written() -> list[tuple[tuple[str, ...], str]]:
    content = WRITTEN.read_text(encoding="utf-8")
    assert content.endswith("\n")
    rows = [line.split("\t") for line in content.removesuffix("\n").split("\n")]
    assert {len(row) for row in rows} == {2}
    return [(tuple(labels.split(",")), text) for labels, text in rows]


def assert_labels_follow_the_rules(labels: tuple[str, ...]) -> None:
    assert 1 <= len(labels) <= 3
    assert list(labels) == [label for label in grammar.LABELS if label in labels], "known, distinct, in order"
    assert grammar.NORMAL not in labels or len(labels) == 1


def label_counts(labels: list[tuple[str, ...]]) -> Counter[str]:
    return Counter(label for row in labels for label in row)


def test_the_same_seed_gives_the_same_statements_and_another_seed_others(sample: list[grammar.Statement]) -> None:
    assert list(grammar.generate(200, seed=3)) == sample[:200]
    assert list(grammar.generate(200, seed=4)) != sample[:200]


def test_generated_statements_are_distinct_and_of_the_promised_length(sample: list[grammar.Statement]) -> None:
    texts = [statement.text for statement in sample]
    assert len(texts) == len(set(texts)) == SAMPLE_SIZE
    assert all(grammar.MIN_CHARACTERS <= len(text) <= grammar.MAX_CHARACTERS for text in texts)


def test_a_repeated_or_ill_sized_text_is_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["想贷两万块装修", "想贷两万块装修房子", "想贷两万块装修房子", "长" * 201, "想贷三万块买面包车"])
    monkeypatch.setattr(grammar.Writer, "write", lambda *_: next(drawn))
    assert [statement.text for statement in grammar.generate(2, seed=3)] == ["想贷两万块装修房子", "想贷三万块买面包车"]


def test_generated_labels_follow_the_rules_and_each_is_frequent(sample: list[grammar.Statement]) -> None:
    for statement in sample:
        assert_labels_follow_the_rules(statement.labels)
    counts = label_counts([statement.labels for statement in sample])
    assert set(counts) == set(grammar.LABELS)
    assert counts[grammar.NORMAL] > SAMPLE_SIZE / 4
    assert min(counts.values()) > SAMPLE_SIZE / 10
    assert {len(statement.labels) for statement in sample} == {1, 2, 3}


def test_no_mark_of_the_clause_files_is_left_in_a_statement(sample: list[grammar.Statement]) -> None:
    assert not [statement.text for statement in sample if re.search(r"[\[\]{}|*#=\t\r\n]", statement.text)]


def test_a_normal_statement_draws_on_no_risk_file_and_a_risky_one_on_exactly_its_own() -> None:
    for seed in range(300):
        normal = grammar.Writer(Random(seed)).plan((grammar.NORMAL,))
        assert normal
        assert not set(normal) & set(grammar.RISKS)
        labels = ("debt_rollover", "inducement")
        risky = grammar.Writer(Random(seed)).plan(labels)
        assert set(risky) & set(grammar.RISKS) == set(labels)
        assert not set(risky) & {"not_debt_rollover", "not_inducement"}
        assert max(len(normal), len(risky)) <= grammar.MAX_CLAUSES


@pytest.mark.parametrize("path", sorted((FOLDER / "clauses").glob("*.txt")), ids=lambda path: path.stem)
def test_every_clause_line_is_well_formed_and_stands_once(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(set(lines))
    assert all(line == line.strip() for line in lines)
    known = set(grammar.pairs("slots", " = ")) | set(grammar.NUMBERS)
    for line in lines:
        if line.startswith("#"):
            continue
        bare = grammar.CHOICE.sub("", line)
        assert "[" not in bare, line
        assert "]" not in bare, line
        assert set(grammar.SLOT.findall(line)) <= known, line


@pytest.mark.parametrize("risk", grammar.RISKS)
def test_each_risk_has_a_broad_stock_of_clauses(risk: str) -> None:
    stock = grammar.stock(risk)
    assert len(stock.said) + len(stock.noted) >= 120
    assert stock.noted
    assert grammar.stock(f"not_{risk}").noted


def test_innocent_clauses_are_a_broad_stock_too() -> None:
    names = ("purpose", "income", "circumstances", *(f"not_{risk}" for risk in grammar.RISKS))
    assert sum(len(grammar.stock(name).said) + len(grammar.stock(name).noted) for name in names) >= 200


def test_the_hand_written_statements_are_many_and_well_labelled(written: list[tuple[tuple[str, ...], str]]) -> None:
    for labels, text in written:
        assert_labels_follow_the_rules(labels)
        assert grammar.MIN_CHARACTERS <= len(text) <= grammar.MAX_CHARACTERS
    assert len({text for _, text in written}) == len(written) >= 700
    counts = label_counts([labels for labels, _ in written])
    assert counts[grammar.NORMAL] >= 200
    assert min(counts.values()) >= 90


def test_the_grammar_repeats_no_hand_written_statement(
    sample: list[grammar.Statement], written: list[tuple[tuple[str, ...], str]]
) -> None:
    assert not {statement.text for statement in sample} & {text for _, text in written}


def test_the_readme_counts_are_the_real_ones(written: list[tuple[tuple[str, ...], str]]) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    counts = label_counts([labels for labels, _ in written])
    for label in grammar.LABELS:
        assert f"| `{label}` | {counts[label]} |" in readme
    assert f"| statements | {len(written)} |" in readme


def test_the_command_writes_a_tsv_file_that_reads_back(tmp_path: Path, sample: list[grammar.Statement]) -> None:
    out = tmp_path / "made.tsv"
    command = [sys.executable, "-m", "examples.statements.grammar", "--count", "50", "--seed", "3", "--out", str(out)]
    subprocess.run(command, check=True, cwd=FOLDER.parents[1])
    rows = [line.split("\t") for line in out.read_text(encoding="utf-8").splitlines()]
    assert rows == [[",".join(statement.labels), statement.text] for statement in sample[:50]]


@pytest.mark.parametrize(
    ("number", "read", "said"),
    [
        (8, "八", "八"),
        (12, "十二", "十二"),
        (105, "一百零五", "一百零五"),
        (8600, "八千六百", "八千六"),
        (12_000, "一万二千", "一万二"),
        (20_500, "二万零五百", "二万零五百"),
        (350_000, "三十五万", "三十五万"),
    ],
)
def test_numbers_are_read_as_people_read_them(number: int, read: str, said: str) -> None:
    assert hanzi(number) == read
    assert spoken(number) == said


def test_a_number_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="hanzi reads 1 to 99999999, not 0"):
        hanzi(0)


def test_a_sum_is_written_in_many_notations() -> None:
    ways = {money(Random(seed), 50_000) for seed in range(300)}
    assert {"5万", "五万", "50000元", "5w", "伍萬元整", "五万块"} <= ways
