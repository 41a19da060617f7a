"""Labelled account histories: what the behaviour model learns from and is measured on.

JSON lines, gzipped or not: ``{"transactions": [...], "label": 0 or 1}``, 1 for trouble; transactions in the contract's
form. The label says what the account was after its latest transaction. Every malformed line is refused with its number,
since a model trained on half of a file looks like any other.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import DataError
from runtime.behaviour import DEFAULT_MAX_TRANSACTIONS, Transaction, features

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class History:
    """One account: raw features, and what is known of it.

    Attributes:
        rows: (n, ``FEATURES``), in order of time.
        labels: (n,), 1 or 0 where it is known whether there was trouble as of that transaction, NaN elsewhere.
    """

    rows: FloatArray
    labels: FloatArray

    @classmethod
    def labelled(cls, rows: FloatArray, label: int) -> History:
        """A history of which it is known what the account was after its latest transaction."""
        labels = np.full(len(rows), np.nan, np.float32)
        labels[-1] = label
        return cls(rows, labels)

    @property
    def label(self) -> int:
        """What the account was after its latest transaction.

        Raises:
            ValueError: It is not known.
        """
        if np.isnan(self.labels[-1]):
            raise ValueError("nothing is known of the latest transaction")
        return int(self.labels[-1])


def read_histories(path: Path) -> list[History]:
    """Read a data file; each history is cut to its latest ``DEFAULT_MAX_TRANSACTIONS``.

    Raises:
        DataError: The file cannot be read, or a line is malformed; the message has its number.
    """
    histories = []
    for number, line in _lines(path):
        try:
            transactions, label = _parse(line)
        except (ValueError, OverflowError) as error:  # bad JSON is the former, a number of 400 digits the latter
            raise DataError(f"{path}, line {number}: {error}.") from error
        histories.append(History.labelled(features(transactions)[-DEFAULT_MAX_TRANSACTIONS:], label))
    return histories


def read_both_labels(path: Path) -> list[History]:
    """As ``read_histories``; a file without a 0 or without a 1 is refused, since nothing can be learnt from it.

    Raises:
        DataError: As ``read_histories``, or a label does not occur.
    """
    histories = read_histories(path)
    if {each.label for each in histories} != {0, 1}:
        raise DataError(f"{path} has {len(histories)} histories and not both labels among them; 0 and 1 are needed.")
    return histories


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:  # noqa: PTH123
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _parse(line: str) -> tuple[list[Transaction], int]:
    document = json.loads(line)
    if not isinstance(document, dict) or not isinstance(document.get("transactions"), list):
        raise ValueError('it must be an object with a list "transactions"')
    label = document.get("label")
    if type(label) is not int or label not in (0, 1):
        raise ValueError(f'"label" is {label!r}; it must be 0 or 1')
    if not document["transactions"]:
        raise ValueError('"transactions" is empty')
    for index, transaction in enumerate(document["transactions"]):
        if problem := _problem(transaction):
            raise ValueError(f"transaction {index} {problem}")
    return document["transactions"], label


def _problem(transaction: object) -> str | None:
    if not isinstance(transaction, dict):
        return "is not an object"
    for name in ("amount", "balance"):
        value = transaction.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            return f"has {name} {value!r}; it must be a number"
    for name in ("time", "channel", "counterparty"):
        if not isinstance(transaction.get(name), str):
            return f"has {name} {transaction.get(name)!r}; it must be a text"
    try:
        zone = datetime.fromisoformat(transaction["time"]).tzinfo
    except ValueError:
        return f"has time {transaction['time']!r}, which is not ISO 8601"
    return None if zone else f"has time {transaction['time']!r}, which lacks its zone"
