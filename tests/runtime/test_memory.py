"""The rules near the memory limit, and an allocator that gives back what is freed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runtime.memory import MemoryReading, MemoryWatch, Meter

MB = 1024 * 1024


class Machine:
    """A watch whose measurements are given, second by second, and what it did."""

    def __init__(self, *, dropping_frees_mb: int = 0, gpu: bool = False) -> None:
        self.did: list[str] = []
        self.used_mb = 0
        self.now = 0.0
        self.tidied_at: list[float] = []
        self._gpu, self._frees_mb = gpu, dropping_frees_mb
        limits = (None, 1000) if gpu else (1000, None)
        self.watch = MemoryWatch(
            rss_limit_mb=limits[0],
            gpu_limit_mb=limits[1],
            drop_caches=self._drop,
            ask_replacement=lambda reason: self.did.append(f"replace: {reason}"),
            measure=self._measure,
            tidy=self._tidy,
        )

    def seconds(self, *used_mb: int) -> list[str]:
        self.did.clear()
        for each in used_mb:
            self.used_mb, self.now = each, self.now + 1.0
            self.watch.step(self.now)
        return [each.partition(":")[0] for each in self.did]

    def _measure(self) -> MemoryReading:
        return MemoryReading(50 * MB, self.used_mb * MB) if self._gpu else MemoryReading(self.used_mb * MB)

    def _tidy(self) -> None:
        self.tidied_at.append(self.now)

    def _drop(self) -> None:
        self.did.append("drop")
        self.used_mb -= self._frees_mb


def test_caches_are_dropped_twice_a_minute_in_any_case() -> None:
    machine = Machine()
    machine.seconds(*[100] * 70)
    assert machine.tidied_at == [31, 61]


@pytest.mark.parametrize("gpu", [False, True])
def test_caches_are_dropped_near_the_limit_and_not_every_second(gpu: bool) -> None:
    machine = Machine(gpu=gpu)
    assert machine.seconds(100, 849) == []
    assert machine.seconds(851) == ["drop"]
    assert machine.seconds(*[900] * 29) == []
    assert machine.seconds(900) == ["drop"]
    assert machine.watch.status()["cache_drops"] == 2


@pytest.mark.parametrize("gpu", [False, True])
def test_a_replacement_is_asked_for_when_dropping_does_not_help(gpu: bool) -> None:
    machine = Machine(gpu=gpu)
    assert machine.seconds(960, 960) == ["drop"]
    assert machine.seconds(960) == ["replace"]
    assert "960 of 1000 MB" in machine.did[0]


def test_no_replacement_is_asked_for_when_dropping_helps_or_the_peak_was_short() -> None:
    assert Machine(dropping_frees_mb=300).seconds(990, 700, 700, 700) == ["drop"]
    assert Machine().seconds(960, 960, 900, 960, 960, 900) == ["drop"]


def test_without_limits_it_only_measures() -> None:
    asked: list[str] = []
    watch = MemoryWatch(rss_limit_mb=None, drop_caches=lambda: asked.append("drop"), ask_replacement=asked.append)
    watch.step(1.0)
    assert watch.status()["rss_limit_bytes"] is None
    assert watch.reading.rss_bytes > 10 * MB
    assert asked == []


def test_it_measures_what_the_system_says() -> None:
    assert Meter().read().rss_bytes == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


# Blocks of ever new sizes between 4 and 12 MB, as pictures make them, in eight threads; some small ones stay.
CHURN = """
import ctypes, random, sys, threading
from runtime.memory import Meter, bound_allocator
if sys.argv[1] == "bounded":
    bound_allocator()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def work(seed):
    draw = random.Random(seed)
    for _ in range(10):
        sizes = [int(draw.uniform(4.1, 12) * 1024 * 1024) for _ in range(3)]
        blocks = [libc.malloc(size) for size in sizes]
        for block, size in zip(blocks, sizes):
            ctypes.memset(block, 1, size)
            libc.malloc(2000)
            libc.free(block)
meter = Meter()
before = meter.read().rss_bytes
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
print(meter.read().rss_bytes - before)
"""


def test_the_bounded_allocator_gives_large_blocks_back() -> None:
    def growth(how: str) -> int:
        command = [sys.executable, "-c", CHURN, how]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert growth("bounded") < 24 * MB < growth("as it comes")
