"""A branch and its headquarters for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge.branches import Branch, Headquarters, Time


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def headquarters(tmp_path: Path, time: Time) -> Iterator[Headquarters]:
    made = Headquarters(tmp_path / "headquarters", time)
    yield made
    made.store.close()


@pytest.fixture
def branch(tmp_path: Path, headquarters: Headquarters, time: Time) -> Iterator[Branch]:
    made = Branch(tmp_path / "branch", headquarters, time)
    yield made
    made.journal.close()
