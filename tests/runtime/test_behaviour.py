from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runtime.artifact import BehaviourSettings
from runtime.behaviour import FEATURE_NAMES, FEATURES, BehaviourModel, BehaviourResult, features, latest

SETTINGS = BehaviourSettings(mean=(0.0,) * FEATURES, std=(1.0,) * FEATURES)


def move(
    day: float, amount: float, *, balance: float = 5000.0, channel: str = "pos", who: str = "示例超市"
) -> dict[str, Any]:
    """One invented transaction, ``day`` days after 2 March 2026, midnight in China."""
    minutes = round(day * 24 * 60)
    return {
        "time": f"2026-03-{2 + minutes // 1440:02d}T{minutes // 60 % 24:02d}:{minutes % 60:02d}:00+08:00",
        "amount": amount,
        "balance": balance,
        "channel": channel,
        "counterparty": who,
    }


def column(transactions: list[dict[str, Any]], name: str) -> list[float]:
    return [float(value) for value in features(transactions)[:, FEATURE_NAMES.index(name)]]


class AmountsPredictor:
    """Gives each transaction a weight by its amount and remembers what it was fed."""

    def __init__(self) -> None:
        self.feeds: Mapping[str, NDArray[np.generic]] = {}

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        self.feeds = feeds
        weight = np.abs(feeds["features"][:, :, 0])
        return {"probability": np.array([0.75], np.float32), "attention": weight / weight.sum(1, keepdims=True)}


def test_rows_follow_time_while_indices_follow_the_caller() -> None:
    transactions = [move(3, -30), move(1, -10), move(2, -20)]
    assert latest(transactions, 200) == [1, 2, 0]
    assert latest(transactions, 2) == [2, 0]
    np.testing.assert_allclose(column(transactions, "signed_log_amount"), -np.log1p([10, 20, 30]), rtol=1e-6)


def test_times_in_different_zones_are_compared_as_instants() -> None:
    at_home = move(1, -10)
    abroad = {**move(1, -20), "time": "2026-03-02T17:00:00+00:00"}  # one hour later
    assert latest([abroad, at_home], 200) == [1, 0]


def test_hour_and_night_are_told_by_the_transaction_s_own_clock() -> None:
    night, noon = move(1 + 3 / 24, -10), move(1 + 12 / 24, -10)
    assert column([night, noon], "at_night") == [1, 0]
    np.testing.assert_allclose(column([night, noon], "hour_cos"), [np.cos(np.pi / 4), -1], atol=1e-6)


def test_the_gap_is_in_minutes_since_the_transaction_before() -> None:
    np.testing.assert_allclose(column([move(1, -1), move(1.5, -1)], "log_gap"), [0, np.log1p(720)], rtol=1e-6)


def test_each_transaction_has_exactly_one_channel_and_an_unknown_one_is_other() -> None:
    transactions = [move(1, -1, channel="mobile"), move(2, -1, channel="telegraph")]
    rows = features(transactions)
    places = [i for i, name in enumerate(FEATURE_NAMES) if name.startswith("channel_")]
    assert rows[:, places].sum(1).tolist() == [1, 1]
    assert column(transactions, "channel_mobile") == [1, 0]
    assert column(transactions, "channel_other") == [0, 1]


def test_a_payment_is_compared_with_what_was_there_before_it() -> None:
    transactions = [move(1, -600, balance=400), move(2, 500, balance=1000)]
    np.testing.assert_allclose(column(transactions, "balance_share"), [0.6, 0.5], rtol=1e-6)


def test_a_counterparty_is_new_once() -> None:
    transactions = [move(1, -1), move(2, -1, who="房东示例庚"), move(3, -1), move(4, -1)]
    assert column(transactions, "counterparty_is_new") == [1, 1, 0, 0]
    np.testing.assert_allclose(column(transactions, "log_counterparty_count"), np.log1p([0, 0, 1, 2]), rtol=1e-6)


def test_money_that_goes_out_is_a_share_of_what_last_came_in() -> None:
    transactions = [move(1, -100), move(2, 1000), move(2.5, -900), move(3, -9000)]
    np.testing.assert_allclose(column(transactions, "inflow_share"), [0, 0, 0.9, 2], rtol=1e-6)
    np.testing.assert_allclose(column(transactions, "log_since_inflow"), np.log1p([0, 0, 12, 24]), rtol=1e-6)


def test_a_shrinking_salary_shows_as_a_negative_change() -> None:
    transactions = [move(1, 8000, channel="payroll"), move(5, -10), move(29, 4000, channel="payroll")]
    np.testing.assert_allclose(column(transactions, "payroll_change"), [0, 0, np.log(0.5)], rtol=1e-6)
    np.testing.assert_allclose(column(transactions, "log_since_payroll"), np.log1p([0, 4, 28]), rtol=1e-6)


def test_a_sum_that_comes_back_within_a_week_is_mirrored() -> None:
    transactions = [move(1, -5000), move(3, 4900), move(4, 300), move(12, -4900)]
    assert column(transactions, "is_mirrored") == [0, 1, 0, 0]


def test_no_transactions_give_no_rows_and_zero_amounts_no_surprise() -> None:
    assert features([]).shape == (0, FEATURES)
    assert np.isfinite(features([move(1, 0, balance=0), move(1, 0, balance=-50)])).all()


def test_settings_limit_standardize_and_cut() -> None:
    settings = BehaviourSettings(max_transactions=2, mean=(1.0,) * FEATURES, std=(0.5,) * FEATURES)
    transactions = [move(day, -(10.0**day)) for day in (1, 2, 3)]
    rows = features(transactions, settings)
    assert rows.shape == (2, FEATURES)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, np.clip((features(transactions)[1:] - 1) / 0.5, -6, 6), rtol=1e-6)
    assert rows.min() == -6


def test_a_model_of_an_earlier_kit_reads_the_first_features_as_it_was_trained_on() -> None:
    transactions = [move(day, -10 * day) for day in (1, 2, 3)]
    settings = BehaviourSettings(mean=(0.0,) * 23, std=(1.0,) * 23)
    np.testing.assert_array_equal(features(transactions, settings), np.clip(features(transactions)[:, :23], -6, 6))
    assert FEATURE_NAMES[22] == "is_mirrored"


def test_an_amount_is_compared_with_earlier_ones_of_its_direction() -> None:
    transactions = [move(1, -10), move(2, 900), move(3, -20), move(4, -40), move(25, -100)]
    np.testing.assert_allclose(column(transactions, "amount_to_usual"), np.log([1, 1, 2, 2, 5]), rtol=1e-6)
    np.testing.assert_allclose(column(transactions, "amount_to_last"), np.log([1, 1, 2, 2, 2.5]), rtol=1e-6)
    np.testing.assert_allclose(column(transactions, "amount_to_high"), np.log([1, 1, 2, 2, 2.5]), rtol=1e-6)
    np.testing.assert_allclose(column(transactions, "log_count"), np.log1p([0, 0, 1, 2, 3]), rtol=1e-6)
    np.testing.assert_allclose(column(transactions, "recent_high"), [0, 0, 0, 0, 0], atol=1e-6)
    jumps = [move(1, -10), move(2, -10), move(3, -40), move(4, -10)]
    np.testing.assert_allclose(column(jumps, "recent_high"), [0, 0, 0, np.log(4)], atol=1e-6)
    np.testing.assert_allclose(column(jumps, "recent_unusual_share"), [0, 0, 0, 1 / 3], rtol=1e-6)


def test_saturday_and_sunday_are_the_weekend() -> None:
    assert column([move(day, -1) for day in range(7)], "at_weekend") == [0, 0, 0, 0, 0, 1, 1]  # 2 March 2026: a Monday


MOVES = st.lists(
    st.builds(
        move,
        st.floats(0, 28),
        st.floats(-1e9, 1e9).map(lambda amount: round(amount, 2)),
        balance=st.floats(-1e6, 1e9),
        channel=st.sampled_from(["pos", "payroll", "transfer", "telegraph"]),
        who=st.sampled_from(["示例甲", "示例乙", ""]),
    ),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(MOVES)
def test_a_row_never_depends_on_what_came_later(transactions: list[dict[str, Any]]) -> None:
    ordered = [transactions[index] for index in latest(transactions, 200)]
    whole = features(ordered)
    assert np.isfinite(whole).all()
    for length in range(1, len(ordered)):
        np.testing.assert_array_equal(features(ordered[:length]), whole[:length])


def test_the_heaviest_five_are_named_by_the_caller_s_indices() -> None:
    predictor = AmountsPredictor()
    amounts = [-20, -1, -30, -2, -50, -40, -3, -10]
    transactions = [move(20 - i, amount) for i, amount in enumerate(amounts)]  # the caller has the latest first
    result = BehaviourModel(predictor, SETTINGS).assess(transactions)  # type: ignore[arg-type]
    assert result.probability == 0.75
    assert [index for index, _ in result.top] == [4, 5, 2, 0, 7]
    weights = [weight for _, weight in result.top]
    assert weights == sorted(weights, reverse=True)
    np.testing.assert_allclose(weights[0], np.log1p(50) / np.log1p(np.abs(amounts)).sum(), rtol=1e-5)
    assert [problem.split()[-1] for problem in result.problems] == ["(out_of_order)", "(short_history)"]
    assert predictor.feeds["features"].shape == (1, 8, FEATURES)
    np.testing.assert_array_equal(predictor.feeds["mask"], np.ones((1, 8), np.float32))


def clean(count: int) -> list[dict[str, Any]]:
    return [move(1 + i / 10, -10 - i) for i in range(count)]


def assessed(transactions: list[dict[str, Any]], now: datetime | None = None) -> tuple[BehaviourResult, list[str]]:
    result = BehaviourModel(AmountsPredictor(), SETTINGS).assess(transactions, now)  # type: ignore[arg-type]
    return result, [problem.split()[-1].strip("()") for problem in result.problems]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_a_history_that_is_too_short_is_said_and_not_guessed(count: int) -> None:
    predictor = AmountsPredictor()
    result = BehaviourModel(predictor, SETTINGS).assess(clean(count))  # type: ignore[arg-type]
    assert result.probability is None
    assert result.top == ()
    (problem,) = result.problems
    assert f"there are {count} transactions and 5 are needed." in problem
    assert f"只有 {count} 笔" in problem
    assert not predictor.feeds


def test_a_short_history_is_assessed_and_said_to_be_short() -> None:
    result, codes = assessed(clean(5))
    assert (result.probability, codes) == (0.75, ["short_history"])
    assert assessed(clean(19))[1] == ["short_history"]
    assert assessed(clean(20))[1] == []


def test_a_history_out_of_order_is_put_in_order_and_said() -> None:
    transactions = clean(25)
    swapped = [*transactions[:7], transactions[8], transactions[7], *transactions[9:]]
    result, codes = assessed(swapped)
    assert codes == ["out_of_order"]
    assert "transactions[8]" in result.problems[0]
    assert result.probability == assessed(transactions)[0].probability


def test_a_transaction_that_is_repeated_counts_once_and_is_said() -> None:
    transactions = clean(25)
    result, codes = assessed([*transactions, transactions[-1]])
    assert codes == ["duplicate"]
    assert result.top == assessed(transactions)[0].top
    assert "transactions[25]" in result.problems[0]
    early, _ = assessed([transactions[0], *transactions])
    assert [index for index, _ in early.top] == [index + 1 for index, _ in result.top]  # in the caller's list
    other_balance = {**transactions[-1], "balance": 1.0}
    assert assessed([*transactions, other_balance])[1] == []  # two purchases in one second


def test_transactions_in_the_future_are_left_out_and_said() -> None:
    transactions = clean(25)
    last = datetime.fromisoformat(transactions[-1]["time"])
    assert assessed(transactions, last)[1] == []
    result, codes = assessed([*transactions, move(20, -99999)], last)
    assert codes == ["in_future"]
    assert result.top == assessed(transactions)[0].top


def test_other_currencies_are_left_out_and_said() -> None:
    transactions = [{**each, "currency": "cny"} for each in clean(25)]
    assert assessed(transactions)[1] == []
    transactions[3]["currency"] = "USD"
    result, codes = assessed(transactions)
    assert codes == ["other_currency"]
    assert "transactions[3]" in result.problems[0]
    assert 3 not in [index for index, _ in result.top]
    strange = [{**each, "currency": "USD"} for each in clean(25)]
    assert assessed(strange)[0].probability is None
