"""An environment is made from the wheels given, without a network, and is the same in either slot."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from devices.errors import EnvironmentFailedError
from devices.provision.environment import (
    box_python,
    build_environment,
    change_environment,
    copy_environment,
    distribution_of,
    python_of,
    unpacked_bytes,
)
from tests.devices.provision.small_wheels import make_wheel, pip_wheel


def said(environment: Path, code: str) -> str:
    command = [python_of(environment), "-I", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.strip()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("slot-a")
    wheels = [make_wheel(place / "wheels", "alpha", script=True), make_wheel(place / "wheels", "beta")]
    (place / "environment.part").mkdir()  # of an installation that was killed
    build_environment(place / "environment", wheels, pip=pip_wheel(), interpreter=box_python())
    return place / "environment"


def test_an_environment_holds_its_wheels_and_neither_pip_nor_programs(built: Path) -> None:
    assert said(built, "import alpha, beta; print(alpha.VERSION, beta.VERSION)") == "1.0 1.0"
    assert said(built, "import importlib.util as u; print(u.find_spec('pip'))") == "None"
    assert {path.name for path in (built / "bin").iterdir()} == {"python", "python3", "python3.11"}
    assert not built.with_name("environment.part").exists()


def test_no_file_of_an_environment_names_the_slot_that_it_stands_in(built: Path) -> None:
    naming = [name for name, data in contents(built).items() if str(built.parent).encode() in data]
    assert naming == []


def test_modules_are_compiled_so_that_nothing_is_written_while_serving(built: Path) -> None:
    before = contents(built)
    assert any(name.endswith("alpha.cpython-311.pyc") for name in before)
    said(built, "import alpha, beta")
    assert contents(built) == before


def test_a_copy_in_the_other_slot_is_the_same_byte_for_byte(built: Path, tmp_path: Path) -> None:
    copy_environment(built, tmp_path / "environment", interpreter=box_python())
    assert contents(tmp_path / "environment") == contents(built)
    assert said(tmp_path / "environment", "import alpha; print(alpha.__file__)").startswith(str(tmp_path))


def test_one_wheel_is_replaced_another_goes_and_the_rest_stays(built: Path, tmp_path: Path) -> None:
    newer = make_wheel(tmp_path / "wheels", "alpha", "2.0")
    changed = tmp_path / "environment"
    change_environment(built, changed, remove=["beta"], wheels=[newer], pip=pip_wheel(), interpreter=box_python())
    assert said(changed, "import alpha, importlib.util as u; print(alpha.VERSION, u.find_spec('beta'))") == "2.0 None"
    before, after = contents(built), contents(changed)
    assert [name for name in after if "beta" in name or "alpha-1" in name] == []
    others = {name for name in after if "alpha" not in name}
    assert {name: after[name] for name in others} == {name: before[name] for name in others}


def test_a_file_that_is_no_wheel_is_named_and_leaves_no_environment(tmp_path: Path) -> None:
    bad = tmp_path / "gamma-1.0-py3-none-any.whl"
    bad.write_bytes(b"not a zip")
    with pytest.raises(EnvironmentFailedError, match=r"gamma-1\.0"):
        build_environment(tmp_path / "environment", [bad], pip=pip_wheel(), interpreter=box_python())
    assert not (tmp_path / "environment").exists()
    with pytest.raises(EnvironmentFailedError, match=r"gamma-1\.0"):
        unpacked_bytes([bad])


def test_the_room_asked_for_is_that_of_the_unpacked_files_and_their_bytecode(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha")
    with zipfile.ZipFile(wheel) as archive:
        unpacked = sum(len(archive.read(name)) for name in archive.namelist())
    assert unpacked < unpacked_bytes([wheel]) < 1.2 * unpacked


def test_names_of_distributions_are_compared_as_pip_does() -> None:
    assert distribution_of("Pydantic_Core-2.50.4-cp311-cp311-manylinux.whl") == "pydantic-core"
