"""Account behaviour: transactions in, the probability that they look like trouble out, and which ones weighed most.

A small LSTM with attention (``compress.behaviour`` trains it) reads the latest transactions in order of time.
Transactions come validated, in the contract's form: ISO time with zone, amount (money out negative), balance after
the transaction, channel, counterparty.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

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
)
FEATURES = len(FEATURE_NAMES)

_TOP = 5
_CLIP = 6.0  # standard deviations: a feature beyond is no more telling, and stays within what training saw
_MIRROR_MINUTES = 7 * 24 * 60
_MIRROR_TOLERANCE = 0.05  # circles lose a fee on the way

Transaction = Mapping[str, object]


@dataclass(frozen=True)
class BehaviourResult:
    """What the model says of one history.

    Attributes:
        probability: Of trouble, 0 to 1; None if the model was not asked.
        top: (index, weight) of at most five transactions, the heaviest first. The index counts in the caller's
            order; the weights of a whole history sum to 1.
        problems: Why the model was not asked, in full sentences.
    """

    probability: float | None
    top: tuple[tuple[int, float], ...] = ()
    problems: tuple[str, ...] = ()


def latest(transactions: Sequence[Transaction], limit: int) -> list[int]:
    """Indices of the latest ``limit`` transactions, in order of time; those at one instant keep the caller's order."""
    order = sorted(range(len(transactions)), key=lambda index: _time(transactions[index]))
    return order[-limit:]


def features(transactions: Sequence[Transaction], settings: BehaviourSettings | None = None) -> NDArray[np.float32]:
    """What the model reads, one row a transaction, rows as in ``latest``.

    Each row looks at its transaction and at earlier ones only.

    Args:
        transactions: In any order.
        settings: Limits and standardizes; None limits to ``DEFAULT_MAX_TRANSACTIONS`` and leaves the values raw.

    Returns:
        (n, ``FEATURES``) float32.
    """
    limit = settings.max_transactions if settings else DEFAULT_MAX_TRANSACTIONS
    raw = _raw_features([transactions[index] for index in latest(transactions, limit)])
    return standardize(raw, settings) if settings else raw


def standardize(raw: NDArray[np.float32], settings: BehaviourSettings) -> NDArray[np.float32]:
    """Subtract the mean, divide by the standard deviation, and cut at six of them."""
    mean = np.asarray(settings.mean, np.float32)
    std = np.asarray(settings.std, np.float32)
    return np.clip((raw - mean) / std, -_CLIP, _CLIP)


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

    apart = minutes[:, None] - minutes[None, :]
    opposite = np.abs(amount[:, None] + amount[None, :]) <= _MIRROR_TOLERANCE * np.abs(amount[:, None])
    earlier = np.tri(n, k=-1, dtype=bool) & (apart <= _MIRROR_MINUTES)
    column["is_mirrored"][:] = (opposite & earlier & (amount != 0)[:, None]).any(1)
    return columns.astype(np.float32)


def _last_before(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each row the index of the last marked row strictly before it, or -1."""
    index = np.where(marked, np.arange(len(marked)), -1)
    return np.concatenate(([-1], np.maximum.accumulate(index)[:-1])).astype(np.int64)


class BehaviourModel:
    """The behaviour model behind one predictor; ``assess`` may be called from several threads."""

    def __init__(self, predictor: Predictor, settings: BehaviourSettings) -> None:
        self._predictor = predictor
        self._settings = settings

    def assess(self, transactions: Sequence[Transaction]) -> BehaviourResult:
        """Look at one history.

        Raises:
            BackendError: The backend failed.
        """
        if len(transactions) < self._settings.min_transactions:
            return BehaviourResult(
                None,
                problems=(
                    f"Behaviour was not assessed: there are {len(transactions)} transactions and "
                    f"{self._settings.min_transactions} are needed.",
                ),
            )
        order = latest(transactions, self._settings.max_transactions)
        rows = features(transactions, self._settings)
        outputs = self._predictor.run({INPUT_FEATURES: rows[None], INPUT_MASK: np.ones((1, len(rows)), np.float32)})
        attention = outputs[OUTPUT_ATTENTION][0]
        heaviest = np.argsort(-attention, kind="stable")[:_TOP]
        return BehaviourResult(
            probability=float(outputs[OUTPUT_PROBABILITY][0]),
            top=tuple((order[row], float(attention[row])) for row in heaviest),
        )
