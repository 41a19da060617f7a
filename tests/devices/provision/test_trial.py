"""A trial on a device on which nothing runs yet: what is said of a launcher that ends, and where its words are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.errors import HealthError
from devices.provision.slots import activate_slot
from devices.provision.trial import await_verdict
from tests.devices.provision.small_release import device, install


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = device(tmp_path / "root")
    activate_slot(root, install(root, 2))
    return root


def ending(place: Path, *lines: str) -> Path:
    """Stands for a Python whose launcher writes ``lines`` and ends."""
    program = place / "python"
    program.write_text("#!/bin/sh\ncat >&2 <<'X'\n" + "\n".join(lines) + "\nX\nexit 14\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"level": "info", "message": "Started."}', "The port is taken. [SERVE-001]"], "The port is taken."),
        (['{"level": "error", "message": "Out of memory."}'], "Out of memory."),
        ([], "no word"),
    ],
    ids=["an error", "a line of the log", "nothing"],
)
def test_of_a_launcher_that_ends_its_last_sentence_is_told(
    root: Path, tmp_path: Path, lines: list[str], said: str
) -> None:
    with pytest.raises(HealthError) as caught:
        await_verdict(root, "b", python=ending(tmp_path, *lines))
    assert said in caught.value.problem
    assert "{" not in caught.value.problem


def test_a_link_in_the_service_s_directory_leads_root_nowhere(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("somebody's")
    (root / "state" / "trial.log").symlink_to(elsewhere)
    with pytest.raises(HealthError):
        await_verdict(root, "b", python=ending(tmp_path, "Ended."))
    assert elsewhere.read_text() == "somebody's"
