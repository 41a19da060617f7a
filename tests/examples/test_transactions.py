"""Invented account histories: in the contract's form, repeatable, and neither trivial nor hopeless to tell apart."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from examples.transactions.generate import MAX_LENGTH, MIN_LENGTH, PLATFORMS, Transaction, generate, write

History = list[Transaction]


@pytest.fixture(scope="module")
def histories() -> list[tuple[History, int]]:
    return list(generate(600, seed=5))


def ranking(scores: list[float], labels: list[int]) -> float:
    """Area under the ROC curve: how often a risky history scores above an ordinary one; ties count half."""
    values, truth = np.array(scores), np.array(labels)
    risky, ordinary = values[truth == 1][:, None], values[truth == 0][None, :]
    return float((risky > ordinary).mean() + 0.5 * (risky == ordinary).mean())


def platform_share(history: History) -> float:
    return sum(moved["counterparty"] in PLATFORMS for moved in history) / len(history)


def night_transfers(history: History) -> float:
    at_night = [m for m in history if datetime.fromisoformat(str(m["time"])).hour < 5 and m["channel"] == "transfer"]
    return len(at_night) / len(history)


def poverty(history: History) -> float:
    return -float(np.median([float(moved["balance"]) for moved in history]))


def test_every_transaction_has_the_contract_s_form(histories: list[tuple[History, int]]) -> None:
    for history, _ in histories:
        assert MIN_LENGTH <= len(history) <= MAX_LENGTH
        for moved in history:
            assert list(moved) == ["time", "amount", "balance", "channel", "counterparty"]
            assert str(moved["time"]).endswith("+08:00")
            assert moved["amount"] != 0


def test_histories_are_sorted_and_their_balances_add_up(histories: list[tuple[History, int]]) -> None:
    for history, _ in histories:
        times = [datetime.fromisoformat(str(moved["time"])) for moved in history]
        assert times == sorted(times)
        for before, moved in zip(history, history[1:], strict=False):
            assert round(float(before["balance"]) + float(moved["amount"]), 2) == moved["balance"]
        assert min(float(moved["balance"]) for moved in history) >= 0


def test_lengths_reach_from_a_few_to_many(histories: list[tuple[History, int]]) -> None:
    lengths = [len(history) for history, _ in histories]
    assert min(lengths) < 20
    assert max(lengths) > 220


def test_both_labels_are_common(histories: list[tuple[History, int]]) -> None:
    risky = sum(label for _, label in histories) / len(histories)
    assert 0.25 < risky < 0.5


@pytest.mark.parametrize("habit", [platform_share, night_transfers, poverty])
def test_one_habit_tells_something_but_decides_nothing(habit, histories: list[tuple[History, int]]) -> None:
    area = ranking([habit(history) for history, _ in histories], [label for _, label in histories])
    assert 0.55 < area < 0.93


def test_the_same_seed_repeats_and_another_differs() -> None:
    assert list(generate(5, seed=1)) == list(generate(5, seed=1))
    assert list(generate(5, seed=1)) != list(generate(5, seed=2))


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    assert list(islice(generate(50, seed=3), 4)) == list(generate(4, seed=3))


def test_the_written_file_is_the_same_byte_for_byte_and_reads_back(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"
    write(first, 20, seed=9)
    write(second, 20, seed=9)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes()[4:8] == bytes(4)  # RFC 1952: no time of writing, which would differ a second later
    with gzip.open(first, "rt", encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines]
    assert [(line["transactions"], line["label"]) for line in read] == list(generate(20, seed=9))
