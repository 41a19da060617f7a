"""The systemd units, by systemd's own judgement."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from devices.errors import ProvisionError
from devices.profile import Profile, known_profiles, load_profile
from devices.provision.units import UNIT_NAME, service_unit, write_units

EXPOSURE_LIMIT = 2.0
PYTHON = "/usr/bin/python3"


@pytest.fixture(scope="module")
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed here (Debian's package systemd)")
    return found


@pytest.fixture
def executable(tmp_path: Path) -> str:
    """A Python that ``systemd-analyze verify`` finds, wherever this box keeps its own."""
    return PYTHON if os.access(PYTHON, os.X_OK) else shutil.which("true") or "/bin/true"


@pytest.mark.parametrize("profile", known_profiles(), ids=lambda profile: profile.name)
def test_the_unit_of_every_profile_is_clean_and_little_exposed(
    profile: Profile, analyze: str, executable: str, tmp_path: Path
) -> None:
    write_units(tmp_path, Path("/opt/edgekit"), profile, python=executable)
    verified = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / UNIT_NAME], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    security = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", tmp_path / UNIT_NAME],
        capture_output=True,
        text=True,
        check=True,
    )
    level = re.search(r"Overall exposure level for edgekit.service: (\d+\.\d+) OK", security.stdout)
    assert level, security.stdout[-300:]
    assert 0 < float(level[1]) <= EXPOSURE_LIMIT


def test_the_judge_would_see_a_weaker_unit(analyze: str, tmp_path: Path) -> None:
    unit = service_unit(Path("/opt/edgekit"), load_profile("cpu-generic"))
    (tmp_path / UNIT_NAME).write_text(re.sub(r"(?m)^(Protect|Capability|Private|SystemCall|User|Group).*\n", "", unit))
    security = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", "--threshold=20", tmp_path / UNIT_NAME],
        capture_output=True,
        text=True,
        check=False,
    )
    assert security.returncode != 0


def test_limits_come_from_the_profile_and_the_network_is_loopback() -> None:
    profile = load_profile("cpu-avx2")
    lines = service_unit(Path("/opt/edgekit"), profile, port=9000).splitlines()
    assert f"MemoryMax={2 * profile.serve.memory_limit_mb + 256}M" in lines
    assert f"CPUQuota={100 * max(profile.match.min_cores, profile.serve.threads)}%" in lines
    assert lines.index("IPAddressDeny=any") == lines.index("IPAddressAllow=localhost") - 1
    assert "ExecStart=/usr/bin/python3 -I /opt/edgekit/launcher.pyz /opt/edgekit --port 9000" in lines
    assert [line for line in lines if "Paths=" in line] == ["ReadWritePaths=/opt/edgekit/state /opt/edgekit/record"]
    for wanted in ("NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "WatchdogSec=60", "Type=notify"):
        assert wanted in lines


def test_a_gpus_nodes_are_open_on_its_profile_alone() -> None:
    assert "DeviceAllow=char-nvidia rw" in service_unit(Path("/opt/edgekit"), load_profile("gpu-nvidia-4gb"))
    plain = service_unit(Path("/opt/edgekit"), load_profile("cpu-generic"))
    assert "DeviceAllow" not in plain
    assert "PrivateDevices=yes" in plain


def test_a_root_below_home_is_the_only_thing_of_home_that_the_unit_sees() -> None:
    lines = service_unit(Path("/home/branch/kit"), load_profile("cpu-generic")).splitlines()
    assert lines[lines.index("ProtectHome=tmpfs") + 1] == "BindPaths=/home/branch/kit"


@pytest.mark.parametrize("root", ["relative", "/opt/two words", "/opt/%h", "/opt/a\nExecStartPre=/bin/sh"])
def test_a_path_that_systemd_would_read_as_something_else_is_refused(root: str) -> None:
    with pytest.raises(ProvisionError, match="cannot stand in a systemd unit"):
        service_unit(Path(root), load_profile("cpu-generic"))
