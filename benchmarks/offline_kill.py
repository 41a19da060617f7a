"""kill -9 while writers append: what was acknowledged is in the journal once, and the chain verifies."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.offline_power import ACKNOWLEDGED
from benchmarks.offline_writer import write
from edge.journal.keys import open_keys
from edge.journal.store import Journal
from edge.journal.verify import verify_journal

_PATIENCE_S = 10.0


@dataclass(frozen=True)
class Found:
    """What was wrong after a crash; all empty if nothing was.

    Attributes:
        lost: Acknowledged decisions that are not in the journal.
        doubled: Decisions that are in it more than once, and requests that led to more than one.
        findings: What verification names.
    """

    lost: Sequence[str]
    doubled: Sequence[str]
    findings: Sequence[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.findings)


def judge(state: Path, told: Sequence[str]) -> Found:
    """Open the journal of ``state`` as after a restart, compare it with what was acknowledged, and append once more."""
    keys = open_keys(state / "keys")
    journal = Journal.open(state / "journal", keys, now=lambda: datetime.now(UTC))
    try:
        journal.append("clock", {"after": "restart"})
        decisions = [entry.body for entry in journal.entries(kinds=["decision"])]
        times = Counter(each["decision_id"] for each in decisions)
        requests = Counter(each["request"] for each in decisions if "request" in each)
        found = verify_journal(state / "journal", keys).findings
    finally:
        journal.close()
    lost = [each for each in told if not times[each]]
    doubled = [each for each, count in (times + requests).items() if count > 1]
    return Found(lost, doubled, [str(each) for each in found])


def kill_writers(
    state: Path,
    *,
    kills: int,
    seed: int,
    beside: Callable[[], None] | None = None,
    longest_s: float = 0.12,
    judge_every: int = 10,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Found, int]:
    """Start two writers and kill them, ``kills`` times; returns the first fault (empty if none) and how many were told.

    They are forks of this process, so that a start takes no time.

    Args:
        state: Of a device.
        kills: How often.
        seed: Of the moments.
        beside: What a third process does meanwhile, which is killed too; else the writers mark as sent themselves.
        longest_s: The longest that they live.
        judge_every: After so many kills the journal is looked at.
        progress: Gets the share that is done.
    """
    draw = random.Random(seed)  # noqa: S311
    state.mkdir(parents=True, exist_ok=True)
    told: list[str] = []
    for number in range(kills):
        children = [_fork(lambda: write(state, 1_000_000, marks=beside is None)) for _ in range(2)]
        if beside is not None:
            children.append(_fork(beside))
        if draw.random() < 0.5:  # not only while they open the journal, however slow the machine
            _until_told_more(state, len(told))
        time.sleep(draw.uniform(0.0, longest_s))
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
        told = _told(state)
        if ((number + 1) % judge_every == 0 or number == kills - 1) and (found := judge(state, told)):
            return found, len(told)
        progress((number + 1) / kills)
    return Found((), (), ()), len(told)


def _told(state: Path) -> list[str]:
    notes = state / ACKNOWLEDGED
    return notes.read_text(encoding="ascii").splitlines() if notes.exists() else []


def _until_told_more(state: Path, before: int) -> None:
    end = time.monotonic() + _PATIENCE_S
    while len(_told(state)) <= before and time.monotonic() < end:
        time.sleep(0.002)


def _fork(work: Callable[[], None]) -> int:
    if child := os.fork():
        return child
    try:
        work()
    finally:
        os._exit(1)  # without what the parent would clean up
