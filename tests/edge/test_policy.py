"""A policy is read whole or refused with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.errors import PolicyError
from edge.policy import UpdatePolicy, load_policy, load_update_policy

EXAMPLE = Path(__file__).parents[2] / "examples" / "policy.toml"


def test_the_example_is_read_from_its_path_and_from_its_bytes() -> None:
    assert load_policy(EXAMPLE) == load_policy(EXAMPLE.read_bytes())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("points = 35", "points = 36", "101 together, not 100"),
        ("points = 35", "points = -1", "text.points"),
        ("high_from = 50", "high_from = 10", "high_from is 10, below medium_from, 20"),
        ("weight = 0.8", "weight = 1.2", "text.labels.debt_rollover.weight"),
        ("share_to = 0.8", "share_to = 0.3", "not above share_from"),
        ("缺少：$what", "缺少：$who", "reasons.missing_parts.zh"),
        ("缺少：$what", "缺少：", "reasons.missing_parts.zh"),
        ("floor = 0.3", "flor = 0.3", "behaviour.floor"),
        ("each = 2", "each = nan", "missing.each"),
        ("full = { hours = 168", "full = { hours = 721", "offline: Value error, the hours of full, reduced"),
        ("passed = 15_000_000", "passed = 9_000_000", "reduced.passed is 9e+06, below full.passed, 1e+07"),
        ("[levels]", "[levels", "is not TOML"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_with_its_key(old: str, new: str, said: str) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert old in text
    with pytest.raises(PolicyError) as caught:
        load_policy(text.replace(old, new).encode())
    assert said in caught.value.problem


def test_a_missing_file_and_wrong_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policy(tmp_path / "none.toml")
    with pytest.raises(PolicyError, match="is not TOML"):
        load_policy(b"\xff")


def test_a_policy_without_the_later_sections_has_their_defaults() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    older = load_policy(text[: text.index("[update]")].replace("offline_authority =", "# ").encode())
    assert older == load_policy(EXAMPLE)  # the example explains the defaults
    assert older.update == UpdatePolicy(grace_days=30, crashes=3, drift_applications=20, drift_points=15.0)


def test_an_older_kit_reads_what_it_knows_of_a_newer_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text('[update]\ncrashes = 7\nnewer_key = 1\n[other]\nkey = "value"\n')
    assert load_update_policy(tmp_path) == UpdatePolicy(crashes=7)
    (tmp_path / "policy.toml").write_text("[update]\ncrashes = 0\n")
    with pytest.raises(PolicyError, match=r"policy\.toml is malformed at update\.crashes"):
        load_update_policy(tmp_path)
