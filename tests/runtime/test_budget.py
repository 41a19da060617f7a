"""What a request may still spend."""

from __future__ import annotations

import math
import time

import pytest

from devices.errors import ClientGoneError, DeadlineError, ServeError
from runtime.budget import UNLIMITED, Budget


def test_an_unlimited_budget_never_ends() -> None:
    UNLIMITED.check()
    assert math.isinf(UNLIMITED.remaining_s)


def test_a_deadline_ends_a_budget_and_what_remains_never_falls_below_zero() -> None:
    budget = Budget.lasting(0.02)
    budget.check()
    assert 0 < budget.remaining_s <= 0.02
    time.sleep(0.03)
    assert budget.remaining_s == 0
    with pytest.raises(DeadlineError, match="time was up"):
        budget.check()


def test_a_gone_client_ends_a_budget_long_before_its_deadline() -> None:
    gone: list[bool] = []
    budget = Budget.lasting(60, lambda: bool(gone))
    budget.check()
    gone.append(True)
    with pytest.raises(ClientGoneError):
        budget.check()


def test_what_ends_a_budget_is_the_servers_affair_not_an_input_error() -> None:
    assert issubclass(DeadlineError, ServeError)
    assert issubclass(ClientGoneError, ServeError)


def test_a_stage_is_timed_and_not_begun_once_the_time_is_up() -> None:
    seen: dict[str, float] = {}
    budget = Budget.lasting(0.02, observe=lambda stage, seconds: seen.update({stage: seconds}))
    with budget.stage("det"):
        time.sleep(0.03)
    assert seen["det"] >= 0.03
    with pytest.raises(DeadlineError), budget.stage("rec"):
        seen["rec"] = 0
    assert list(seen) == ["det"]
