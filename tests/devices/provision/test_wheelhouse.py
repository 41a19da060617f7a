"""The kit carries its own lock, and its wheel is the same file however often it is built."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from devices.errors import PackError
from devices.provision import wheelhouse
from devices.provision.medium import TOOLS
from devices.provision.wheelhouse import GLIBC, KIT, platforms, read_wheelhouse
from tests.devices.provision.small_wheels import make_wheel, pip_wheel

ROOT = Path(__file__).parents[3]


def test_the_locks_of_the_kit_are_those_of_the_checkout() -> None:
    for name in ("serve.lock", "install.lock"):
        assert (ROOT / "devices" / "provision" / name).read_bytes() == (ROOT / "requirements" / name).read_bytes()


def test_all_that_the_bootstrap_unpacks_is_in_the_lock() -> None:
    locked = {line.partition("==")[0] for line in (ROOT / "requirements" / "serve.lock").read_text().splitlines()}
    assert TOOLS - {KIT} <= locked


_ONLY_TOOLS = """
import importlib.metadata, sys

tools = set(sys.argv[1].split())
owners = importlib.metadata.packages_distributions()


class Missing:
    def find_spec(self, name, path=None, target=None):
        owned_by = {each.lower().replace("_", "-") for each in owners.get(name.partition(".")[0], ())}
        if owned_by and not owned_by & tools:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
import devices.provision.device, devices.provision.install, edge.cli, edge.commands.provision, edge.policy
try:
    import numpy
except ModuleNotFoundError:
    print("numpy is missing, as it has to be")
"""


def test_an_installation_runs_where_there_is_nothing_but_what_the_bootstrap_unpacks() -> None:
    command = [sys.executable, "-c", _ONLY_TOOLS, " ".join(TOOLS)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "numpy is missing" in done.stdout


def test_two_builds_of_the_kit_are_one_file_and_carry_the_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        wheelhouse._build_kit(tmp_path / name)
    first, second = (next((tmp_path / name).glob("*.whl")) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        assert archive.read("devices/provision/serve.lock") == (ROOT / "requirements" / "serve.lock").read_bytes()
        built = datetime.fromisoformat(archive.read("devices/built.txt").decode().strip())
    assert datetime(2026, 11, 1, tzinfo=UTC) < built <= datetime.now(UTC)
    assert {"devices/provision/bootstrap.py", "edge/commands/provision_medium.py"} <= set(names)


def test_wheels_for_the_processors_glibc_and_older_ones_are_taken() -> None:
    tags = platforms("x86_64")
    assert tags[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64"} <= set(tags)
    assert not any("2_29" in tag or "aarch64" in tag for tag in tags)
    assert platforms("aarch64")[0] == "manylinux_2_35_aarch64"
    assert GLIBC["x86_64"] in (ROOT / "requirements" / "lock.sh").read_text().replace("_", ".")


def test_a_wheelhouse_has_one_lock_over_all_but_pip(tmp_path: Path) -> None:
    make_wheel(tmp_path, "branch_edgekit")
    with pytest.raises(PackError, match="no wheel of pip"):
        read_wheelhouse(tmp_path)
    (tmp_path / pip_wheel().name).write_bytes(pip_wheel().read_bytes())
    make_wheel(tmp_path, "alpha")
    house = read_wheelhouse(tmp_path)
    assert len(house.wheels) == 3
    names = [line.partition("==")[0] for line in house.lock.read_text().splitlines()]
    assert names == ["alpha", "branch-edgekit"]
    before = house.lock.read_bytes()
    make_wheel(tmp_path, "alpha", "1.0", script=True)
    assert read_wheelhouse(tmp_path).lock.read_bytes() != before


def test_a_kit_without_its_checkout_asks_for_its_own_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheelhouse, "_CHECKOUT", tmp_path)
    with pytest.raises(PackError, match="installed from a wheel"):
        wheelhouse.make_wheelhouse(tmp_path / "out", "x86_64")
