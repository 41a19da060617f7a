"""Whether a score means what it says is asked of points, before any calibration, and of cases whose end is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import scoring_card
from benchmarks.scoring_card import POLICY, Material, applications
from edge.calibration import Calibration
from edge.policy import load_policy

EXAMPLE = load_policy(POLICY)
FOUND = Material(
    texts=[({"normal": 0.99}, False), ({"debt_rollover": 0.99}, True)],
    accounts=[(0.02, False), (0.98, True), (None, False)],
)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_card, "APPLICATIONS", 400)


def test_what_is_measured_are_points_whatever_calibration_the_policy_has() -> None:
    other = EXAMPLE.model_copy(update={"calibration": Calibration(points=(0, 100), score=(0, 1))})
    points, trouble = applications(FOUND, EXAMPLE, seed=1)
    again, _ = applications(FOUND, other, seed=1)
    np.testing.assert_array_equal(points, again)
    assert points.shape == trouble.shape == (400,)
    assert points.max() > 40


def test_trouble_is_rarer_among_cases_with_no_points_than_among_others() -> None:
    points, trouble = applications(FOUND, EXAMPLE, seed=2)
    assert trouble[points == 0].mean() < 0.1 < 0.6 < trouble[points >= 20].mean()
    assert 0.2 < trouble.mean() < 0.5


def test_other_seeds_are_other_applications() -> None:
    assert not np.array_equal(applications(FOUND, EXAMPLE, seed=1)[0], applications(FOUND, EXAMPLE, seed=2)[0])
