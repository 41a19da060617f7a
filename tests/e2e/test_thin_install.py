"""A box in a branch: provisioned from a medium with no network and the serving set alone; then it serves and scores.

The real way from headquarters to a receipt: wheels by the lock, a signed repository, a medium, ``install.sh`` with the
Python of this machine and nothing else, in a network namespace with loopback alone where this user may make one.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from devices.provision.inventory import verify_inventory
from tests.e2e.conftest import EDGEKIT, DemoRun
from tests.project.installed import check_pages

ROOT = Path(__file__).parents[2]
APPLICATION = ROOT / "examples" / "application"
NOT_ON_A_BOX = (
    "paddle",
    "paddleslim",
    "paddle2onnx",
    "onnx",
    "matplotlib",
    "safetensors",
    "pytest",
    "sklearn",
    "scipy",
    "pip",
)


@dataclass(frozen=True)
class Box:
    """A provisioned device; ``said`` is what the installation answered."""

    root: Path
    said: dict[str, object]

    @property
    def edgekit(self) -> list[str | Path]:
        return [self.root / "slots" / "a" / "environment" / "bin" / "python", "-I", "-m", "edge.cli"]


def run(*command: str | Path, **environment: str) -> str:
    result = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False, cwd="/"
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def without_network(*command: str | Path) -> str:
    """Run with nothing of this process's environment, and no interface but loopback."""
    clean = ["env", "-i", f"PATH={Path(sys.base_prefix) / 'bin'}:/usr/bin:/bin", *command]
    if os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("ip")):
        return run(*clean)
    return run("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *clean)


@pytest.fixture(scope="module")
def medium(demo: DemoRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The demonstration's bundle as a release on a medium; every step holds all wheels once more, so none stays."""
    place = tmp_path_factory.mktemp("headquarters")
    profile = json.loads((demo.bundle / "manifest.json").read_bytes())["profile"]
    wheels, repo, keys = place / "wheels", place / "repo", place / "keys"
    own = {"EDGEKIT_STATE_DIR": str(place / "state")}
    run(EDGEKIT, "bundle", "trust", demo.public_key, **own)
    run(EDGEKIT, "provision", "wheels", "--profile", profile, "--out", wheels)
    run(EDGEKIT, "repo", "init", repo, "--keys", keys)
    run(EDGEKIT, "repo", "delegate", repo, "north", "--keys", keys)
    release = ["--bundle", demo.bundle, "--wheels", wheels, "--lock", wheels / "requirements.lock"]
    run(EDGEKIT, "repo", "publish", repo, "--keys", keys, *release, "--region", "north", "--class", "kiosk", **own)
    for wheel in wheels.glob("*.whl"):
        wheel.unlink()
    channel = ["--repo", repo, "--channel", "north/kiosk", "--out", place / "medium"]
    run(EDGEKIT, "provision", "pack", "--profile", profile, *channel)
    shutil.rmtree(repo)
    yield place / "medium"
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def box(medium: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A bare directory, and ``install.sh``."""
    root = tmp_path_factory.mktemp("box") / "root"
    said = without_network("sh", medium / "install.sh", "--root", root, "--by", "the branch", "--json")
    yield Box(root, json.loads(said))
    shutil.rmtree(root)


def test_a_bare_box_is_provisioned_without_a_network_and_says_what_it_checked(box: Box) -> None:
    assert (box.said["release"], box.said["slot"], box.said["environment"]) == ("branch-loans-1", "a", "built")
    report = verify_inventory(json.loads((box.root / "state" / "inventory.json").read_bytes()))
    (deployment,) = report["deployments"]
    assert (deployment["by"], deployment["result"]) == ("the branch", "good")
    assert all(check["passed"] for check in deployment["checks"])
    assert not (box.root / "bootstrap").exists()


def test_the_medium_says_which_packages_it_installs(medium: Path) -> None:
    listed = {
        each["name"]: {digest["content"] for digest in each["hashes"]}
        for each in json.loads((medium / "sbom.cdx.json").read_bytes())["components"]
    }
    lock = (medium.parent / "wheels" / "requirements.lock").read_text()
    installed = dict(re.findall(r"^([a-z0-9-]+)==\S+ --hash=sha256:(\w+)$", lock, re.MULTILINE))
    assert installed.pop("branch-edgekit")
    assert all(installed[name] in hashes for name, hashes in listed.items())
    assert set(listed) == set(installed)


def test_the_box_serves_and_scores_the_sample_application(box: Box) -> None:
    python = Path(sys.base_prefix) / "bin" / "python3"
    command = [python, "-I", box.root / "launcher.pyz", box.root, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={}) as launcher:
        try:
            assert launcher.stdout is not None
            url = json.loads(launcher.stdout.readline())["url"]
            assert requests.get(f"{url}/v2/health/ready", timeout=30).json() == {"ready": True}
            assert check_pages(url) > 15
            names = ("application.json", "id.jpg", "income.png", "statement.pdf")
            parts = [("application" if name == names[0] else "file", name) for name in names]
            form = [(part, (name, (APPLICATION / name).read_bytes())) for part, name in parts]
            receipt = requests.post(f"{url}/v1/score", files=form, timeout=60).json()
            assert receipt["application_id"] == "A-001"
            assert {model["backend"] for model in receipt["models"]} == {"openvino"}
        finally:
            launcher.terminate()
    assert launcher.returncode == 0


def test_the_box_scores_without_a_server_too(box: Box, bundle: Path) -> None:
    printed = run(*box.edgekit, "score", "--bundle", bundle, APPLICATION, "--json")
    assert json.loads(printed)["application_id"] == "A-001"


def test_the_box_holds_no_paddle_no_training_no_plots_and_no_pip(box: Box) -> None:
    code = f"import importlib.util as u; print([name for name in {NOT_ON_A_BOX!r} if u.find_spec(name)])"
    assert run(box.edgekit[0], "-I", "-c", code).strip() == "[]"


def test_the_box_knows_its_profiles_and_its_commands(box: Box) -> None:
    assert json.loads(run(*box.edgekit, "device", "match", "--json"))["profile"]
    assert "score" in run(*box.edgekit, "--help")


def test_compressing_on_the_box_says_where_it_can_be_done(box: Box, tmp_path: Path) -> None:
    command = [*box.edgekit, "compress", "ocr", "--models", tmp_path, "--calibration", tmp_path]
    command += ["--profile", "cpu-generic", "--out", tmp_path / "out", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 6
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "BACKEND-002"
    assert "workstation" in error["remedy"]


def test_a_medium_in_use_again_finds_nothing_to_do_and_the_boxs_own_kit_judges_it(box: Box, medium: Path) -> None:
    said = json.loads(without_network("sh", medium / "install.sh", "--root", box.root, "--json"))
    assert (said["release"], said["changed"], said["fetched_bytes"]) == ("branch-loans-1", False, 0)
