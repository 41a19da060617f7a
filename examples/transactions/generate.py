"""Invented account histories with a label: 1 for risky behaviour, 0 for ordinary life.

Nobody's account is in here. A history is the simulated life of one made-up person: salary, rent, daily purchases,
now and then a transfer among friends. One hidden number, the person's pressure, makes each of five habits more likely,
and also the label: the salary dries up, credit from a loan platform goes out again within hours, money moves at
night, payday's money is gone within a day, the same sum travels in a circle. Ordinary people have a little of each
(a sweep into savings after payday, a night shift, a shared dinner), so a model has to weigh them; none decides alone.

    python -m examples.transactions.generate --count 2000 --seed 7 --out histories.jsonl.gz

The same count and seed give the same bytes on every run.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

MIN_LENGTH = 5
MAX_LENGTH = 250
CHINA = timezone(timedelta(hours=8))
LAST_END = datetime(2026, 11, 20, 20, 0, tzinfo=CHINA)

DAY = 24 * 60  # minutes
MONTH = 30 * DAY

Transaction = dict[str, str | float]

SHOPS = (
    ("示例超市", "pos"),
    ("样例生鲜", "mobile"),
    ("虚构早餐铺", "mobile"),
    ("样例外卖", "mobile"),
    ("示例打车", "mobile"),
    ("假想书店", "online"),
    ("示例商城", "online"),
    ("样例药房", "pos"),
    ("示例加油站", "pos"),
    ("虚构影院", "online"),
    ("样例通信", "online"),
    ("示例理发店", "mobile"),
)
PLATFORMS = ("虚构速贷", "样例快借", "假想分期", "示例现金贷")
FRIENDS = ("示例乙", "示例丙", "示例丁", "样例戊", "样例己")
EMPLOYERS = ("样例科技有限公司", "示例商贸有限公司", "虚构制造厂", "样例餐饮管理有限公司")


@dataclass(frozen=True)
class Life:
    """What the simulation needs to know about one made-up person.

    Amounts are cents. The five habits lie between 0 (never) and 1 (strongly).
    """

    salary: int
    payday: int  # minutes after the start of a 30-day month
    rent: int
    purchases_per_day: float
    start_balance: int
    employer: str
    saves: bool  # sweeps part of the salary into savings: innocent, but looks like `drains`
    instalment: int  # a loan paid back as agreed; 0 for none
    dries_up: float
    rolls_over: float
    at_night: float
    drains: float
    circles: float


@dataclass(frozen=True)
class Event:
    """Something that wants to move money; ``cents`` None means this ``fraction`` of what is there."""

    minute: int
    cents: int | None
    channel: str
    counterparty: str
    fraction: float = 0.0


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def draw_life(rng: np.random.Generator) -> tuple[Life, int]:
    """Draw one person and the label."""
    pressure = float(rng.normal())
    label = int(rng.random() < _sigmoid(9.0 * (pressure - 0.35)))
    habits = [_sigmoid(2.6 * pressure + 1.1 * float(rng.normal()) - 2.1) for _ in range(5)]
    salary = int(min(40_000, 3_000 + rng.lognormal(8.5, 0.6))) * 100
    saves, has_instalment = bool(rng.random() < 0.25), rng.random() < 0.3
    life = Life(
        salary=salary,
        payday=int(rng.integers(0, 28)) * DAY + int(rng.integers(9 * 60, 17 * 60)),
        rent=int(salary * rng.uniform(0.12, 0.4)) // 10_000 * 10_000 + 50_000,
        purchases_per_day=float(rng.uniform(0.4, 3.0)),
        start_balance=int(salary * rng.uniform(0.1, 3.0) * (1.0 - 0.7 * habits[3])),
        employer=EMPLOYERS[int(rng.integers(len(EMPLOYERS)))],
        saves=saves,
        instalment=int(salary * rng.uniform(0.05, 0.2)) if has_instalment else 0,
        dries_up=habits[0],
        rolls_over=habits[1],
        at_night=habits[2],
        drains=habits[3],
        circles=habits[4],
    )
    return life, label


def _monthly(life: Life, span: int, rng: np.random.Generator) -> Iterator[Event]:
    """Salary, rent, instalment, and what happens to the money right after payday."""
    for month_start in range(0, span, MONTH):
        progress = month_start / max(span, 1)
        shrunk = 1.0 - life.dries_up * progress * 1.1
        payday = month_start + life.payday + int(rng.integers(-90, 90))
        if rng.random() > 0.7 * life.dries_up * (0.3 + progress):
            amount = int(life.salary * max(shrunk, 0.15) * rng.uniform(0.96, 1.04))
            yield Event(payday, amount, "payroll", life.employer)
            if life.saves:
                yield Event(
                    payday + int(rng.integers(60, 2 * DAY)),
                    None,
                    "online",
                    "示例理财",
                    -rng.uniform(0.2, 0.6),
                )
            if rng.random() < 0.9 * life.drains:
                fraction = -rng.uniform(0.6, 0.75 + 0.24 * life.drains)
                yield Event(payday + int(rng.integers(20, DAY)), None, "transfer", _one(FRIENDS, rng), fraction)
        yield Event(month_start + 5 * DAY + int(rng.integers(9 * 60, 20 * 60)), -life.rent, "transfer", "房东示例庚")
        if life.instalment:
            yield Event(month_start + 20 * DAY + 9 * 60, -life.instalment, "online", "样例银行车贷")


def _one(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _time_of_day(count: int, night_share: float, rng: np.random.Generator) -> np.ndarray:
    """Minutes after midnight: mostly around half past two in the afternoon, the night share before five."""
    awake = np.clip(rng.normal(14.5 * 60, 4 * 60, count), 6 * 60, DAY - 1)
    asleep = rng.uniform(0, 5 * 60, count)
    return np.where(rng.random(count) < night_share, asleep, awake).astype(int)


def _purchases(life: Life, span: int, rng: np.random.Generator) -> Iterator[Event]:
    count = int(rng.poisson(life.purchases_per_day * span / DAY))
    minutes = rng.integers(0, max(span // DAY, 1), count) * DAY + _time_of_day(count, 0.02 + 0.1 * life.at_night, rng)
    cents = np.maximum(300, rng.lognormal(8.3, 0.9, count) * (life.salary / 800_000) ** 0.5).astype(int)
    shops = rng.integers(0, len(SHOPS), count)
    for minute, amount, shop in zip(minutes.tolist(), cents.tolist(), shops.tolist(), strict=True):
        name, channel = SHOPS[shop]
        yield Event(minute, -amount, channel, name)


def _transfers(life: Life, span: int, rng: np.random.Generator) -> Iterator[Event]:
    """Friends, loan platforms and circles: where the habits show."""
    months = span / MONTH
    for _ in range(int(rng.poisson(months * (1.0 + 4.0 * life.at_night)))):
        minute = int(rng.integers(0, max(span // DAY, 1))) * DAY
        minute += int(_time_of_day(1, 0.04 + 0.75 * life.at_night, rng)[0])
        amount = int(rng.lognormal(10.3, 0.8)) // 1000 * 1000 + 1000
        direction = 1 if rng.random() < 0.35 else -1
        yield Event(minute, direction * amount, "transfer", _one(FRIENDS, rng))
    for _ in range(int(rng.poisson(months * (0.12 + 3.0 * life.rolls_over**1.3)))):
        minute = int(rng.integers(0, span))
        amount = int(rng.uniform(8, 80)) * 10_000
        yield Event(minute, amount, "transfer", _one(PLATFORMS, rng))
        wait = (
            int(rng.uniform(10, 36 * 60))
            if rng.random() < 0.25 + 0.7 * life.rolls_over
            else int(rng.uniform(10, 30) * DAY)
        )
        repaid = int(amount * rng.uniform(0.8, 1.05))
        yield Event(minute + wait, -repaid, "online", _one(PLATFORMS, rng))
    for _ in range(int(rng.poisson(months * (0.15 + 2.5 * life.circles**1.2)))):
        minute = int(rng.integers(0, span))
        amount = int(rng.uniform(5, 120)) * 10_000
        yield Event(minute, -amount, "transfer", _one(FRIENDS, rng))
        back = int(amount * rng.uniform(0.97, 1.0))
        yield Event(minute + int(rng.uniform(0.1, 4) * DAY), back, "transfer", _one(FRIENDS, rng))


def simulate(life: Life, *, end: datetime, days: int, rng: np.random.Generator) -> list[Transaction]:
    """Live ``days`` days up to ``end`` and return the account's history.

    A payment that the account cannot cover is declined and leaves no trace, as at a real counter.

    Args:
        life: The person.
        end: The last moment, with a time zone.
        days: How many days to live; at least 1.
        rng: The only source of chance.

    Returns:
        Transactions in the contract's form, sorted by time; each balance is the one before plus the amount.
    """
    span = days * DAY
    events = [*_monthly(life, span, rng), *_purchases(life, span, rng), *_transfers(life, span, rng)]
    events = sorted((e for e in events if 0 <= e.minute <= span), key=lambda e: e.minute)
    begin = end - timedelta(minutes=span)
    seconds = rng.integers(0, 60, len(events)).tolist()
    balance = life.start_balance
    history: list[Transaction] = []
    previous = begin
    for event, second in zip(events, seconds, strict=True):
        cents = int(balance * event.fraction) if event.cents is None else event.cents
        if cents == 0 or balance + cents < 0:
            continue
        balance += cents
        previous = max(previous, begin + timedelta(minutes=event.minute, seconds=second))
        history.append(
            {
                "time": previous.isoformat(),
                "amount": cents / 100,
                "balance": balance / 100,
                "channel": event.channel,
                "counterparty": event.counterparty,
            }
        )
    return history


def generate(count: int, seed: int) -> Iterator[tuple[list[Transaction], int]]:
    """Yield ``count`` histories with their labels.

    Args:
        count: How many.
        seed: Histories differ between seeds and repeat with the same one.

    Yields:
        The transactions (5 to 250 of them) and the label, 1 for risky behaviour.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        life, label = draw_life(rng)
        # Midnight, so that a minute of the simulated day is the same minute on the clock.
        end = LAST_END.replace(hour=0) - timedelta(days=int(rng.integers(0, 170)))
        wanted = int(rng.integers(MIN_LENGTH, MAX_LENGTH + 1))
        days = min(150, math.ceil(1.3 * wanted / (life.purchases_per_day + 0.3)) + 3)
        history = simulate(life, end=end, days=days, rng=rng)
        while len(history) < MIN_LENGTH:
            days += 15
            history = simulate(life, end=end, days=days, rng=rng)
        yield history[-wanted:], label


def write(path: Path, count: int, seed: int) -> None:
    """Write ``count`` histories to ``path`` as gzipped JSON lines; the same arguments give the same bytes."""
    with (
        path.open("wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0, compresslevel=6) as out,
    ):
        for transactions, label in generate(count, seed):
            line = json.dumps({"transactions": transactions, "label": label}, ensure_ascii=False)
            out.write(line.encode() + b"\n")


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description="Write invented account histories.")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True, help="FILE.jsonl.gz")
    options = parser.parse_args()
    write(options.out, options.count, options.seed)


if __name__ == "__main__":
    main()
