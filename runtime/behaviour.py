"""Account behaviour: transactions in, the probability that they look like trouble out, and which ones weighed most.

A small LSTM with attention (``compress.behaviour`` trains it) reads the latest transactions in order of time.
Transactions come validated, in the contract's form: ISO time with zone, amount (money out negative), balance after
the transaction, channel, counterparty.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from runtime.artifact import BehaviourSettings
from runtime.predictor import Predictor

INPUT_FEATURES, INPUT_MASK = "features", "mask"
OUTPUT_PROBABILITY, OUTPUT_ATTENTION = "probability", "attention"

DEFAULT_MAX_TRANSACTIONS = 200
CHANNELS = ("pos", "online", "mobile", "transfer", "atm", "payroll", "loan")  # any other counts as "other"
FEATURE_NAMES = (
    "signed_log_amount",  # sign(a) * ln(1 + |a|), yuan
    "is_inflow",
    "log_gap",  # ln(1 + minutes since the transaction before)
    "hour_sin",
    "hour_cos",
    "at_night",  # between midnight and five, in the transaction's own zone
    *(f"channel_{name}" for name in CHANNELS),
    "channel_other",
    "log_balance",
    "balance_share",  # |a| of what was there before a payment, or of what is there after a receipt; 0 to 1
    "counterparty_is_new",
    "log_counterparty_count",  # ln(1 + earlier transactions with the same one)
    "log_since_inflow",  # ln(1 + hours since money last came in)
    "inflow_share",  # money out as a share of that inflow, at most 2
    "log_since_payroll",  # ln(1 + days since the last salary, or since the first transaction)
    "payroll_change",  # ln(this salary / the one before), within -3 and 3
    "is_mirrored",  # the same sum went the other way within the week before
    # from here on amounts are compared with earlier ones of the same direction; 0 where there is none
    "amount_to_usual",  # ln(|a| / their median)
    "amount_to_last",  # ln(|a| / the last of them)
    "amount_to_high",  # ln(|a| / the tenth that is highest)
    "log_count",  # ln(1 + their number)
    "recent_high",  # ln(highest of the fortnight before / their median)
    "recent_unusual_share",  # of the fortnight before, the share above twice their median
    "at_weekend",
)
FEATURES = len(FEATURE_NAMES)

_TOP = 5
_CLIP = 6.0  # standard deviations: a feature beyond is no more telling, and stays within what training saw
_MIRROR_MINUTES = 7 * 24 * 60
_MIRROR_TOLERANCE = 0.05  # circles lose a fee on the way
_LOOK_BACK = 2000  # transactions before the latest ones that features may look at: a year of a busy account
_RECENT_MINUTES = 14 * 24 * 60
_UNUSUAL = 2.0  # times the median
_CENT = 0.01

_FEW = 20
_CLOCK_TOLERANCE = timedelta(hours=1)  # between the clock of a core system and the device's
_YUAN = ("CNY", "RMB", "人民币")
_TEXTS = {
    "out_of_order": ("交易未按时间顺序排列", "Transactions earlier than the one before them"),
    "duplicate": ("交易重复，只计一次", "Transactions that are repeated and count once"),
    "in_future": ("交易的时间晚于申请时间，未计入", "Transactions later than the application, left out"),
    "other_currency": ("交易不是人民币，未计入", "Transactions in other currencies, left out"),
}

Transaction = Mapping[str, object]


@dataclass(frozen=True)
class BehaviourResult:
    """What the model says of one history.

    Attributes:
        probability: Of trouble, 0 to 1; None if the model was not asked.
        top: (index, weight) of at most five transactions, the heaviest first. The index counts in the caller's
            order; the weights of a whole history sum to 1.
        problems: What is wrong with the history, or why the model was not asked: a sentence each, in Chinese and
            in English, with its code at the end. A person has to look at it.
    """

    probability: float | None
    top: tuple[tuple[int, float], ...] = ()
    problems: tuple[str, ...] = ()


def examine(
    transactions: Sequence[Transaction], min_transactions: int, now: datetime | None = None
) -> tuple[list[int], tuple[str, ...]]:
    """What of a history can be assessed, and what is wrong with it.

    An order in which time runs backwards is put right, since the times say how. A transaction that stands there twice
    counts once. One in the future, or in another currency, cannot be part of what happened to an account in yuan, and
    is left out. All of it is said.

    Args:
        transactions: As the caller has them.
        min_transactions: With fewer the model cannot be asked.
        now: The moment of the application; None does not look for transactions in the future.

    Returns:
        Indices of those to assess, none if they are too few, and the problems as in ``BehaviourResult``.
    """
    times = [_time(transaction) for transaction in transactions]
    seen: set[tuple[object, ...]] = set()
    left_out: dict[str, list[int]] = {"out_of_order": [], "duplicate": [], "in_future": [], "other_currency": []}
    kept = []
    for index, (time, entry) in enumerate(zip(times, transactions, strict=True)):
        whole = (time, entry["amount"], entry["balance"], entry["channel"], entry["counterparty"])
        if index and time < times[index - 1]:
            left_out["out_of_order"].append(index)
        if whole in seen:
            left_out["duplicate"].append(index)
        elif now is not None and time > now + _CLOCK_TOLERANCE:
            left_out["in_future"].append(index)
        elif str(entry.get("currency") or "CNY").upper() not in _YUAN:
            left_out["other_currency"].append(index)
        else:
            kept.append(index)
        seen.add(whole)
    problems = [_said(code, places) for code, places in left_out.items() if places]
    if len(kept) < min_transactions:
        problems.append(
            f"可用的交易只有 {len(kept)} 笔，至少需要 {min_transactions} 笔，未评估账户行为 / "
            f"Behaviour was not assessed: there are {len(kept)} transactions and {min_transactions} are needed. "
            "(too_few_transactions)"
        )
        kept = []
    elif len(kept) < _FEW:
        problems.append(
            f"账户行为的评估只依据 {len(kept)} 笔交易 / Behaviour was assessed by {len(kept)} transactions only. "
            "(short_history)"
        )
    return kept, tuple(problems)


def _said(code: str, places: Sequence[int]) -> str:
    zh, en = _TEXTS[code]
    shown = ", ".join(f"transactions[{index}]" for index in places[:_TOP]) + (" ..." if len(places) > _TOP else "")
    return f"{len(places)} 笔{zh} / {en}, {len(places)} in all: {shown} ({code})"


def latest(transactions: Sequence[Transaction], limit: int) -> list[int]:
    """Indices of the latest ``limit`` transactions, in order of time; those at one instant keep the caller's order."""
    order = sorted(range(len(transactions)), key=lambda index: _time(transactions[index]))
    return order[-limit:]


def features(transactions: Sequence[Transaction], settings: BehaviourSettings | None = None) -> NDArray[np.float32]:
    """What the model reads, one row a transaction, rows as in ``latest``.

    Each row looks at its transaction and at earlier ones only, also at those before the first row.

    Args:
        transactions: In any order.
        settings: Limits and standardizes; None gives a raw row for each of the latest ``_LOOK_BACK`` transactions.

    Returns:
        (n, ``FEATURES``) float32; with settings as many columns as they have, see ``standardize``.
    """
    raw = _raw_features([transactions[index] for index in latest(transactions, _LOOK_BACK)])
    return standardize(raw[-settings.max_transactions :], settings) if settings else raw


def standardize(raw: NDArray[np.float32], settings: BehaviourSettings) -> NDArray[np.float32]:
    """Subtract the mean, divide by the standard deviation, and cut at six of them.

    New features are added at the end only, so a model of an earlier kit reads the first so many as it was trained on.
    """
    mean = np.asarray(settings.mean, np.float32)
    std = np.asarray(settings.std, np.float32)
    return np.clip((raw[:, : len(mean)] - mean) / std, -_CLIP, _CLIP)


def _time(transaction: Transaction) -> datetime:
    return datetime.fromisoformat(str(transaction["time"]))


def _raw_features(ordered: Sequence[Transaction]) -> NDArray[np.float32]:
    n = len(ordered)
    columns = np.zeros((n, FEATURES))
    if n == 0:
        return columns.astype(np.float32)
    column = {name: columns[:, i] for i, name in enumerate(FEATURE_NAMES)}  # views: writing fills the matrix

    times = [_time(transaction) for transaction in ordered]
    minutes = np.array([time.timestamp() for time in times]) / 60
    hour = np.array([time.hour + time.minute / 60 for time in times])
    amount = np.array([transaction["amount"] for transaction in ordered], np.float64)
    balance = np.array([transaction["balance"] for transaction in ordered], np.float64)
    channels = [str(transaction["channel"]) for transaction in ordered]

    column["signed_log_amount"][:] = np.sign(amount) * np.log1p(np.abs(amount))
    column["is_inflow"][:] = amount > 0
    column["log_gap"][:] = np.log1p(np.diff(minutes, prepend=minutes[0]))
    column["hour_sin"][:] = np.sin(hour * (2 * np.pi / 24))
    column["hour_cos"][:] = np.cos(hour * (2 * np.pi / 24))
    column["at_night"][:] = hour < 5
    for row, channel in enumerate(channels):
        column[f"channel_{channel if channel in CHANNELS else 'other'}"][row] = 1
    column["log_balance"][:] = np.sign(balance) * np.log1p(np.abs(balance))
    there = np.where(amount < 0, balance - amount, balance)
    column["balance_share"][:] = np.clip(np.abs(amount) / np.maximum(there, 1), 0, 1)

    seen: dict[str, int] = {}
    for row, transaction in enumerate(ordered):
        counterparty = str(transaction["counterparty"])
        column["log_counterparty_count"][row] = np.log1p(seen.get(counterparty, 0))
        column["counterparty_is_new"][row] = counterparty not in seen
        seen[counterparty] = seen.get(counterparty, 0) + 1

    inflow = _last_before(amount > 0)
    has_inflow = inflow >= 0
    since = minutes - minutes[np.maximum(inflow, 0)]
    column["log_since_inflow"][:] = np.where(has_inflow, np.log1p(since / 60), 0)
    spent = np.where(has_inflow & (amount < 0), -amount / np.maximum(amount[np.maximum(inflow, 0)], 1), 0)
    column["inflow_share"][:] = np.clip(spent, 0, 2)

    is_payroll = np.array([channel == "payroll" for channel in channels]) & (amount > 0)
    payroll = _last_before(is_payroll)
    column["log_since_payroll"][:] = np.log1p((minutes - minutes[np.maximum(payroll, 0)]) / (24 * 60))
    both = is_payroll & (payroll >= 0)
    column["payroll_change"][both] = np.clip(np.log(amount[both] / amount[payroll[both]]), -3, 3)

    start = np.searchsorted(minutes, minutes - _MIRROR_MINUTES)
    for row in range(n):
        sums = np.abs(amount[start[row] : row] + amount[row])
        column["is_mirrored"][row] = amount[row] != 0 and bool((sums <= _MIRROR_TOLERANCE * abs(amount[row])).any())
    for direction in (amount > 0, amount <= 0):
        places = np.flatnonzero(direction)
        columns[places, FEATURE_NAMES.index("amount_to_usual") : -1] = _against_earlier(
            np.maximum(np.abs(amount[places]), _CENT), minutes[places]
        )
    column["at_weekend"][:] = [time.weekday() >= 5 for time in times]
    return columns.astype(np.float32)


def _against_earlier(amount: NDArray[np.float64], minutes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The six features from ``amount_to_usual`` to ``recent_unusual_share``; amounts of one direction, above 0."""
    found = np.zeros((len(amount), 6))
    start = np.searchsorted(minutes, minutes - _RECENT_MINUTES)
    earlier: list[float] = []  # sorted
    for row, value in enumerate(amount.tolist()):
        if earlier:
            usual = earlier[len(earlier) // 2]
            found[row, :3] = np.log([value / usual, value / amount[row - 1], value / earlier[len(earlier) * 9 // 10]])
            recent = amount[start[row] : row]
            if len(recent):
                found[row, 4] = np.log(recent.max() / usual)
                found[row, 5] = (recent > _UNUSUAL * usual).mean()
        found[row, 3] = np.log1p(len(earlier))
        bisect.insort(earlier, value)
    return found


def _last_before(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row the index of the last marked row strictly before it, or -1."""
    index = np.where(marked, np.arange(len(marked)), -1)
    return np.concatenate(([-1], np.maximum.accumulate(index)[:-1])).astype(np.int64)


class BehaviourModel:
    """The behaviour model behind one predictor; ``assess`` may be called from several threads."""

    def __init__(self, predictor: Predictor, settings: BehaviourSettings) -> None:
        self._predictor = predictor
        self._settings = settings

    def assess(self, transactions: Sequence[Transaction], now: datetime | None = None) -> BehaviourResult:
        """Look at one history as of ``now``; see ``examine``.

        Raises:
            BackendError: The backend failed.
        """
        kept, problems = examine(transactions, self._settings.min_transactions, now)
        if not kept:
            return BehaviourResult(None, problems=problems)
        usable = [transactions[index] for index in kept]
        order = latest(usable, self._settings.max_transactions)
        rows = features(usable, self._settings)
        outputs = self._predictor.run({INPUT_FEATURES: rows[None], INPUT_MASK: np.ones((1, len(rows)), np.float32)})
        attention = outputs[OUTPUT_ATTENTION][0]
        heaviest = np.argsort(-attention, kind="stable")[:_TOP]
        return BehaviourResult(
            probability=float(outputs[OUTPUT_PROBABILITY][0]),
            top=tuple((kept[order[row]], float(attention[row])) for row in heaviest),
            problems=problems,
        )
