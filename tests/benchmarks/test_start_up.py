"""A start is compared only by requests that were answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from benchmarks import start_up
from benchmarks.runtime_processes import Client, Loaded, Server, Step
from devices.errors import EdgeKitError


class Answering:
    """A client, and the server that it asks, in one: so many of the requests fail."""

    url = "http://127.0.0.1:1"

    def __init__(self, failed: int) -> None:
        self.failed = failed

    def load(self, url: str, plan: Sequence[Step]) -> Loaded:
        return Loaded([5.0] * (len(plan) - self.failed), 1.0, self.failed, "")


@pytest.mark.parametrize("failed", [0, 1])
def test_requests_that_failed_stop_the_benchmark(failed: int) -> None:
    plan: list[Step] = [("/v1/ocr", "image/jpeg", Path("a.jpg"))] * 3
    load, server = cast("Client", Answering(failed)), cast("Server", Answering(failed))
    if not failed:
        assert list(start_up._answered_ms(load, server, plan)) == [5.0] * 3
        return
    with pytest.raises(EdgeKitError, match="1 of 3 requests to /v1/ocr failed"):
        start_up._answered_ms(load, server, plan)
