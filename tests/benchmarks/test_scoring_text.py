from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.scoring_text import STATEMENTS, statements


def test_statements_are_read_with_every_label_that_they_carry(tmp_path: Path) -> None:
    file = tmp_path / "statements.tsv"
    file.write_text("normal\t买车\ndebt_rollover,inducement\t中介说能还网贷\n", encoding="utf-8")
    found = statements(file, ("normal", "debt_rollover", "inducement"))
    assert found.texts == ["买车", "中介说能还网贷"]
    np.testing.assert_array_equal(found.truth, [[True, False, False], [False, True, True]])


def test_what_is_measured_on_is_no_part_of_what_is_learned_from() -> None:
    measured, learned, chosen = (
        {line.split("\t")[1] for line in (STATEMENTS / f"written_{part}.tsv").read_text(encoding="utf-8").splitlines()}
        for part in ("test", "train", "dev")
    )
    assert len(measured) == 280
    assert not measured & (learned | chosen)
