"""The behaviour model against gradient boosting, on card transactions that are public and simulated.

Both learn from days 0 to 119 and are asked about each transaction of days 127 to 182, from the account's own history up
to it: that is what a device in a branch has. What other accounts did at the same counterparty is not looked at, nor any
label of the past. The network is trained by ``compress.behaviour`` and answers as it serves: exported, on OpenVINO, one
history of at most 128 transactions for each question. Boosting gets aggregates over windows, as the field does it; it
runs with scikit-learn's defaults, and with settings that were chosen, as the network's were, on days 100 to 119 after
training on days 0 to 99.
"""

from __future__ import annotations

import csv
import gzip
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Figure, Goal, Progress, Report, Row
from benchmarks.peers import peer_answers
from benchmarks.scoring_tally import ratio_by_group
from benchmarks.textsplit import SHARED
from compress.behaviour import average_precision, pad, roc_auc, train
from compress.behaviour_network import save_network
from compress.export import to_onnx
from compress.histories import FloatArray, History
from devices.errors import EdgeKitError
from runtime.artifact import BehaviourSettings
from runtime.behaviour import INPUT_FEATURES, INPUT_MASK, OUTPUT_PROBABILITY, features, standardize
from runtime.predictor import Predictor, load_predictor, model_files

DATA = SHARED / "txn_fraud_handbook_simulated" / "transactions_customers_mod10_183days.csv.gz"
TRAIN_DAYS = 120
TEST_FROM = 127
EPOCHS = 12
LONGEST = 128
BATCH = 256
WHAT = "Behaviour: average precision, LSTM with attention over HistGradientBoosting"


@dataclass(frozen=True)
class Account:
    """One customer's transactions in order of time.

    Attributes:
        rows: Raw features of the kit, (n, ``FEATURES``).
        aggregates: What boosting reads, (n, 23).
        day: Since the first day, (n,).
        labels: 1 for fraud, (n,).
    """

    rows: FloatArray
    aggregates: NDArray[np.float64]
    day: NDArray[np.int64]
    labels: NDArray[np.int64]


def read_accounts(progress: Progress) -> list[Account]:
    """All accounts of the data."""
    grouped: dict[str, list[tuple[str, str, float, int]]] = {}
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            entry = (row["TX_DATETIME"], row["TERMINAL_ID"], float(row["TX_AMOUNT"]), int(row["TX_FRAUD"]))
            grouped.setdefault(row["CUSTOMER_ID"], []).append(entry)
    first = datetime.fromisoformat(min(min(entries)[0] for entries in grouped.values())).replace(
        hour=0, minute=0, second=0
    )
    accounts = []
    for number, entries in enumerate(grouped.values()):
        entries.sort()
        transactions = [
            {"time": f"{time}+00:00", "amount": -amount, "balance": 0.0, "channel": "pos", "counterparty": terminal}
            for time, terminal, amount, _ in entries
        ]
        moments = [datetime.fromisoformat(entry[0]) for entry in entries]
        days = np.array([(moment - first).total_seconds() / 86400 for moment in moments])
        amounts = np.array([entry[2] for entry in entries])
        terminals = [entry[1] for entry in entries]
        accounts.append(
            Account(
                features(transactions),
                aggregates(days, amounts, terminals),
                days.astype(np.int64),
                np.array([entry[3] for entry in entries]),
            )
        )
        progress("read accounts", (number + 1) / len(grouped))
    return accounts


def aggregates(days: NDArray[np.float64], amounts: NDArray[np.float64], terminals: list[str]) -> NDArray[np.float64]:
    """The field's table for boosting: the transaction, windows of 1, 7, 14 and 30 days before it, and all before it."""
    n = len(days)
    sums = np.concatenate([[0.0], np.cumsum(amounts)])
    squares = np.concatenate([[0.0], np.cumsum(amounts**2)])
    place = np.arange(n)
    columns = [amounts, days % 1 * 24, days // 1 % 7, np.diff(days, prepend=np.nan)]
    with np.errstate(invalid="ignore", divide="ignore"):
        for window in (1, 7, 14, 30):
            start = np.searchsorted(days, days - window)
            count = place - start
            highest = [amounts[a:b].max(initial=-np.inf) for a, b in zip(start, place, strict=True)]
            columns += [count, (sums[:-1] - sums[start]) / count, np.where(count, highest, np.nan)]
        mean = sums[:-1] / place
        deviation = np.sqrt(np.maximum(squares[:-1] / place - mean**2, 0))
        median = np.array([np.median(amounts[:i]) if i else np.nan for i in range(n)])
        columns += [mean, deviation, median, amounts / mean, (amounts - mean) / deviation, amounts / median]
    seen: dict[str, int] = {}
    visits = []
    for terminal in terminals:
        visits.append(seen.get(terminal, 0))
        seen[terminal] = visits[-1] + 1
    table = np.stack([*columns, np.array(visits)], axis=1).astype(np.float64)
    table[~np.isfinite(table)] = np.nan
    return table


def served_scores(
    predictor: Predictor, settings: BehaviourSettings, accounts: list[Account], progress: Progress
) -> NDArray[np.float64]:
    """What the served model says of each transaction of the test days, in the order of accounts and time."""
    questions: list[FloatArray] = []
    for account in accounts:
        rows = standardize(account.rows, settings)
        questions += [rows[max(0, i + 1 - LONGEST) : i + 1] for i in np.flatnonzero(account.day >= TEST_FROM)]
    scores = np.zeros(len(questions))
    for start in range(0, len(questions), BATCH):
        rows, mask = pad(questions[start : start + BATCH])
        answer = predictor.run({INPUT_FEATURES: rows, INPUT_MASK: mask})
        scores[start : start + len(rows)] = answer[OUTPUT_PROBABILITY]
        progress("ask the network", min(1.0, (start + BATCH) / len(questions)))
    return scores


def boosting_table(accounts: list[Account]) -> dict[str, NDArray[np.generic]]:
    """What boosting learns from, and the same transactions that the network is asked about."""
    known = [(account, account.day < TRAIN_DAYS) for account in accounts]
    asked = [(account, account.day >= TEST_FROM) for account in accounts]
    return {
        "train_rows": np.concatenate([account.aggregates[which] for account, which in known]),
        "train_labels": np.concatenate([account.labels[which] for account, which in known]),
        "test_rows": np.concatenate([account.aggregates[which] for account, which in asked]),
    }


def measure_behaviour(report: Report, scratch: Path, progress: Progress) -> None:
    """Rows on average precision and on the time that training takes."""
    if not DATA.is_file():
        report.add(Row(WHAT, None, note="The public transactions are not beside the checkout."))
        return
    accounts = read_accounts(progress)
    histories = [
        History(account.rows[account.day < TRAIN_DAYS], account.labels[account.day < TRAIN_DAYS].astype(np.float32))
        for account in accounts
        if (account.day < TRAIN_DAYS).any()
    ]
    begin = time.perf_counter()
    network, settings = train(
        histories, seed=0, epochs=EPOCHS, progress=lambda share: progress("train", share), max_transactions=LONGEST
    )
    seconds = time.perf_counter() - begin
    save_network(network, scratch)
    (scratch / "served").mkdir()
    to_onnx(scratch, scratch / "served" / "model.onnx")
    predictor = load_predictor(model_files(scratch / "served", "behaviour"), "openvino")
    ours = served_scores(predictor, settings, accounts, progress)
    try:
        table = boosting_table(accounts)
        boosted = peer_answers("bench-scikit", "scikit_behaviour.py", table, scratch)
    except EdgeKitError as error:
        report.add(Row(WHAT, None, note=error.problem))
        return
    labels = np.concatenate([account.labels[account.day >= TEST_FROM] for account in accounts])
    customer = np.repeat(np.arange(len(accounts)), [int((account.day >= TEST_FROM).sum()) for account in accounts])
    said = f"Ours {average_precision(labels, ours):.4f} (AUC {roc_auc(labels, ours):.3f})"
    for name, scores in boosted.items():
        note = f"{said}, boosting {average_precision(labels, scores):.4f} (AUC {roc_auc(labels, scores):.3f})."
        if name == "default":
            note += f" {len(labels):,} transactions, {labels.sum()} of them fraud; 95 % interval over customers."
        figure = ratio_by_group(average_precision, labels, ours, scores, customer)
        report.add(Row(f"{WHAT}, {name}", figure, "times", Goal(1.0), note))
    report.add(
        Row(
            "Behaviour: time to train on 120 days of 499 accounts",
            Figure.exact(seconds),
            "s",
            Goal(600, at_least=False),
            f"{EPOCHS} passes, one thread.",
        )
    )
