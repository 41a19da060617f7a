"""What gradient boosting is given: aggregates of the past, and nothing of what came later."""

from __future__ import annotations

import numpy as np

from benchmarks.scoring_behaviour import aggregates


def test_aggregates_look_at_the_past_only() -> None:
    rng = np.random.default_rng(0)
    days = np.sort(rng.uniform(0, 60, 40))
    amounts = rng.uniform(1, 100, 40)
    terminals = [f"终端{int(number)}" for number in rng.integers(0, 9, 40)]
    whole = aggregates(days, amounts, terminals)
    for length in (1, 2, 17, 39):
        part = aggregates(days[:length], amounts[:length], terminals[:length])
        np.testing.assert_allclose(part, whole[:length])


def test_aggregates_are_those_of_the_windows() -> None:
    table = aggregates(np.array([0.5, 2.0, 2.5, 9.0]), np.array([10.0, 20.0, 60.0, 90.0]), ["a", "b", "a", "a"])
    assert table.shape == (4, 23)
    np.testing.assert_allclose(table[2, :10], [60, 12, 2, 0.5, 1, 20, 20, 2, 15, 20])
    np.testing.assert_allclose(table[3, 16:19], [30, np.sqrt((100 + 400 + 3600) / 3 - 900), 20])
    assert table[:, -1].tolist() == [0, 0, 1, 2]
