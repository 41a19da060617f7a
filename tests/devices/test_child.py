"""What is said of a child process that ended."""

from __future__ import annotations

import signal

import pytest

from devices.child import how_it_ended


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (3 << 8, "ended with status 3"),
        (signal.SIGKILL, "was killed by SIGKILL"),
        (40, "was killed by signal 40"),  # a real-time signal, which has no name
    ],
)
def test_a_wait_status_becomes_words_whatever_ended_the_process(status: int, words: str) -> None:
    assert how_it_ended(int(status)) == words
