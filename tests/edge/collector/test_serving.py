"""A collector that takes nothing more ends, so that whoever watches it starts it anew."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from edge.collector.serving import _check


@pytest.mark.parametrize("ended", [False, True])
def test_a_collector_whose_broker_thread_ended_ends(ended: bool) -> None:
    stopped: list[bool] = []
    server: Any = SimpleNamespace(stop=lambda: stopped.append(True))
    wait = threading.Event()
    thread = threading.Thread(target=wait.wait)
    thread.start()
    if ended:
        wait.set()
        thread.join()
    _check([], thread, server)
    wait.set()
    thread.join()
    assert stopped == [True] * ended
    _check([], None, server)
    assert stopped == [True] * ended
