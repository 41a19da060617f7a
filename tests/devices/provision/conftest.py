"""A bank with a release, and a device on which it was installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.devices.provision.small_bank import Bank


@pytest.fixture(scope="session")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """A bank whose channel points at its first release; a test that publishes takes a copy."""
    made = Bank(tmp_path_factory.mktemp("bank"))
    made.publish()
    made.pack()
    return made


@pytest.fixture(scope="session")
def installed(bank: Bank, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A device on which the first release is good; a test takes a copy of it."""
    root = tmp_path_factory.mktemp("installed") / "root"
    command = [sys.executable, "-m", "edge.cli", "provision", "install", bank.place / "medium", "--root", root]
    subprocess.run(command, check=True, capture_output=True, umask=0o077)
    return root


@pytest.fixture
def root(installed: Path, tmp_path: Path) -> Path:
    """That device, for this test alone."""
    shutil.copytree(installed, tmp_path / "root", symlinks=True)
    return tmp_path / "root"


@pytest.fixture
def own_bank(bank: Bank, tmp_path: Path) -> Bank:
    """The same bank, which may publish."""
    shutil.copytree(bank.place, tmp_path / "bank")
    copy = object.__new__(Bank)
    copy.place, copy.released = tmp_path / "bank", list(bank.released)
    return copy
