"""The wheel holds all that the checkout has to run with, and other people's type checkers can read it."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.provision.wheelhouse import _build_kit
from tests.project.installed import COMMANDS, put_wheel

ROOT = Path(__file__).parents[2]
MADE = {"devices/built.txt"}  # the day of the build
PACKAGES = ("compress", "devices", "edge", "runtime")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    _build_kit(place)
    (file,) = place.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and the packages of this one, in which the checkout cannot be seen."""
    place = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    python = place / "bin" / "python"
    put_wheel(wheel, python)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not read
    return python


def files() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT).as_posix()


def test_every_file_of_the_four_packages_is_in_it_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held - MADE == set(files())


def test_each_package_says_that_it_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        assert {f"{package}/py.typed" for package in PACKAGES} <= set(archive.namelist())


def test_the_command_runs_from_the_wheel_outside_the_checkout(python: Path) -> None:
    where = subprocess.run(
        [python, "-c", "import edge, runtime; print(edge.__file__, runtime.__file__)"],
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert str(python.parents[1]) in where
    assert str(ROOT) not in where
    said = subprocess.run([python.with_name("edgekit"), "--help"], cwd="/", capture_output=True, text=True, check=True)
    assert all(f"\n  {name} " in said.stdout for name in COMMANDS)
    said = subprocess.run(
        [python.with_name("edgekit"), "--version"], cwd="/", capture_output=True, text=True, check=True
    )
    assert said.stdout.startswith("edgekit, version ")


CONSUMER = '''
"""What a bank's own program does with the kit."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import EdgeKitError
from devices.profile import Profile, load_profile
from edge.bundle.keys import trusted_keys
from edge.bundle.verify import VerifiedBundle, verify_bundle
from edge.receipt import Receipt
from runtime.predictor import Predictor, RunOptions, load_predictor, model_files


def answers(directory: Path, image: NDArray[np.float32]) -> dict[str, tuple[int, ...]]:
    predictor: Predictor = load_predictor(model_files(directory, "net"), "openvino", RunOptions(threads=2))
    return {name: array.shape for name, array in predictor.run({"image": image}).items()}


def check(directory: Path) -> str:
    try:
        bundle: VerifiedBundle = verify_bundle(directory, trusted_keys())
    except EdgeKitError as error:
        return error.remedy
    profile: Profile = load_profile("cpu-generic")
    return f"{bundle.manifest.name} {profile.name}"


def score(receipt: Receipt) -> int:
    return receipt.score
'''


def judged(python: Path, folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    snippet = folder / "consumer.py"
    snippet.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(python), "--cache-dir", str(folder)]
    return subprocess.run([*command, str(snippet)], cwd=folder, capture_output=True, text=True, check=False)


def test_a_program_that_uses_the_kit_passes_mypy_strict_and_a_wrong_one_does_not(python: Path, tmp_path: Path) -> None:
    good = judged(python, tmp_path, CONSUMER)
    assert good.returncode == 0, good.stdout
    wrong = judged(
        python, tmp_path, CONSUMER.replace("receipt.score", "receipt.points").replace("-> str:", "-> bytes:")
    )
    assert '"Receipt" has no attribute "points"' in wrong.stdout
    assert 'got "str", expected "bytes"' in wrong.stdout
