from __future__ import annotations

import platform
import sysconfig
from pathlib import Path

import pytest

from devices.doctor.wheels import check_wheels, parse_wheel_tags, tag_fits
from devices.system import libc

HERE = {"python": "3.11.7", "libc": "glibc 2.36", "arch": "x86_64"}


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp311-cp311-linux_x86_64", True),
        ("cp311-cp311-manylinux_2_28_x86_64", True),
        ("cp311-cp311-manylinux_2_36_x86_64", True),
        ("cp311-cp311-manylinux_2_39_x86_64", False),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp311-cp311-manylinux1_x86_64", True),
        ("cp39-abi3-manylinux_2_28_x86_64", True),
        ("cp312-abi3-manylinux_2_28_x86_64", False),
        ("py3-none-manylinux_2_31_x86_64", True),
        ("cp310-cp310-manylinux_2_28_x86_64", False),
        ("cp310-none-any", False),
        ("cp311-cp312-linux_x86_64", False),
        ("cp311-cp311-manylinux_2_28_aarch64", False),
        ("cp311-cp311-manylinux2014_aarch64", False),
        ("cp311-cp311-musllinux_1_2_x86_64", False),
        ("cp311-cp311-win_amd64", False),
        ("cp311-cp311-macosx_11_0_arm64", False),
        ("nonsense", False),
        ("a-b-c-d", False),
    ],
)
def test_a_tag_fits_this_python_library_and_processor_or_not(tag: str, fits: bool) -> None:
    assert tag_fits(tag, **HERE) is fits


@pytest.mark.parametrize(
    ("tag", "fits"),
    [
        ("cp311-cp311-musllinux_1_2_x86_64", True),
        ("py3-none-any", True),
        ("cp311-cp311-manylinux_2_17_x86_64", False),
        ("cp311-cp311-musllinux_1_2_aarch64", False),
    ],
)
def test_on_musl_only_wheels_for_musl_fit(tag: str, fits: bool) -> None:
    assert tag_fits(tag, python="3.11.7", libc="musl", arch="x86_64") is fits


def test_an_unknown_library_takes_pure_wheels_alone() -> None:
    assert tag_fits("py3-none-any", python="3.11.7", libc="unknown", arch="x86_64")
    assert not tag_fits("cp311-cp311-manylinux_2_17_x86_64", python="3.11.7", libc="unknown", arch="x86_64")


def add(site: Path, name: str, *tags: str) -> None:
    folder = site / f"{name}.dist-info"
    folder.mkdir(parents=True)
    lines = ["Wheel-Version: 1.0", "Root-Is-Purelib: false", *(f"Tag: {tag}" for tag in tags)]
    (folder / "WHEEL").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_distribution_that_does_not_fit_is_named_with_what_it_is_built_for(tmp_path: Path) -> None:
    add(tmp_path, "click-8.3", "py3-none-any")
    add(tmp_path, "numpy-1.26.4", "cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux2014_x86_64")
    assert check_wheels(tmp_path, **HERE).state == "ok"
    add(tmp_path, "openvino-2026.4.1", "cp311-cp311-manylinux_2_31_aarch64")
    add(tmp_path, "onnxruntime-1.32", "cp312-cp312-manylinux_2_27_x86_64")
    check = check_wheels(tmp_path, **HERE)
    assert check.state == "stop"
    assert check.finding == (
        "onnxruntime-1.32 is built for cp312-cp312-manylinux_2_27_x86_64 and 1 more; this device has Python 3.11.7, "
        "glibc 2.36, x86_64."
    )


def test_an_environment_without_anything_in_it_stops(tmp_path: Path) -> None:
    assert check_wheels(tmp_path / "missing", **HERE).state == "stop"


def test_tags_are_read_from_the_form_that_wheels_have() -> None:
    assert parse_wheel_tags("Wheel-Version: 1.0\nTag: py2-none-any\nTag: py3-none-any\n\n") == (
        "py2-none-any",
        "py3-none-any",
    )


def test_everything_in_this_environment_fits_this_machine() -> None:
    check = check_wheels(
        Path(sysconfig.get_path("platlib")), python=platform.python_version(), libc=libc(), arch=platform.machine()
    )
    assert check.state == "ok", check.finding
