from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from devices.clock import judge
from devices.doctor.check import NAMES, Check, worst
from devices.doctor.machine import (
    check_backends,
    check_clock,
    check_gpu,
    check_int8,
    check_machine,
    check_memory,
    check_profile,
    check_python,
    check_time_zone,
    check_tpm,
)
from devices.gpu import Gpu
from devices.limits import Limits
from devices.probe import Facts
from devices.profile import known_profiles, load_profile
from devices.system import TimeZone

KNOWN = known_profiles()
BOX = Facts(
    "x86_64",
    "Intel(R) Core(TM) i3-6100 CPU @ 3.70GHz",
    2,
    ("avx2", "fma"),
    3900,
    20_000,
    backends={"openvino": "2026.4.1", "onnxruntime": "1.32.0"},
    kernel="6.1.0",
    libc="glibc 2.36",
    python="3.11.2",
)
AVX2, VNNI = load_profile("cpu-avx2"), load_profile("cpu-avx512-vnni")


def test_a_branch_pc_and_its_own_profile_need_nothing() -> None:
    checks = [
        check_machine(BOX),
        check_python(BOX),
        check_profile(BOX, AVX2, KNOWN),
        check_int8(BOX, AVX2, []),
        check_backends(BOX, AVX2),
        check_memory(BOX, AVX2),
        check_time_zone(BOX),
        check_gpu(BOX, AVX2),
        check_tpm(BOX),
    ]
    assert [(check.state, check.remedy) for check in checks] == [("ok", "")] * len(checks)
    assert [check.code for check in checks] == sorted({check.code for check in checks})
    assert {check.code for check in checks} < set(NAMES)


NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("check", "state", "said", "remedy"),
    [
        pytest.param(check_machine(replace(BOX, arch="riscv64")), "stop", "riscv64", "cannot be used", id="arch"),
        pytest.param(check_python(replace(BOX, python="3.12.1")), "stop", "3.12.1", "Python 3.11", id="python"),
        pytest.param(
            check_profile(BOX, VNNI, KNOWN), "attention", "lacks avx512f, avx512_vnni", "profile cpu-avx2.", id="isa"
        ),
        pytest.param(
            check_profile(replace(BOX, arch="aarch64", isa=("neon",)), AVX2, KNOWN),
            "stop", "the profile is for x86_64", "profile cpu-generic.", id="another architecture",
        ),
        pytest.param(
            check_profile(replace(BOX, memory_mb=900), AVX2, []), "attention", "900 MB", "device match", id="no other"
        ),
        pytest.param(
            check_int8(BOX, VNNI, ["ocr-det"]), "stop", "would compute ocr-det wrong", "profile cpu-avx2", id="int8"
        ),
        pytest.param(
            check_int8(BOX, load_profile("igpu-intel"), ["ocr-det"]), "attention", "no VNNI", "", id="int8 beside a GPU"
        ),
        pytest.param(
            check_backends(replace(BOX, backends={}), AVX2),
            "stop", "None of openvino, onnxruntime is installed (there: none)", "Install", id="no backend",
        ),
        pytest.param(
            check_backends(replace(BOX, backends={"onnxruntime": "1"}), AVX2),
            "attention", "openvino is not installed, onnxruntime serves instead", "Install", id="second backend",
        ),
        pytest.param(
            check_memory(replace(BOX, memory_mb=1200, limits=Limits("v2", None, 1200)), AVX2),
            "stop", "control group", "2012 MB", id="memory",
        ),
        pytest.param(check_memory(replace(BOX, memory_mb=1600), AVX2), "attention", "1600 MB", "Stop", id="tight"),
        pytest.param(
            check_clock(judge(datetime(1970, 1, 1, tzinfo=UTC), NOW)), "stop", "1970-01-01 00:00", "battery", id="1970"
        ),
        pytest.param(
            check_clock(judge(NOW + timedelta(days=5000), NOW)), "attention", "more than 400 days", "Set", id="ahead"
        ),
        pytest.param(
            check_time_zone(replace(BOX, time_zone=TimeZone("UTC", ("TZ is odd.",)))),
            "attention", "TZ is odd.", "timedatectl", id="time zone",
        ),
        pytest.param(
            check_gpu(replace(BOX, problems=("The NVIDIA driver did not answer.",)), AVX2),
            "attention", "did not answer", "driver", id="driver",
        ),
        pytest.param(
            check_gpu(BOX, load_profile("gpu-nvidia-4gb")), "attention", "(nvidia); found: none", "board", id="no gpu"
        ),
    ],
)  # fmt: skip
def test_what_speaks_against_a_machine_is_said_with_its_values_and_a_remedy(
    check: Check, state: str, said: str, remedy: str
) -> None:
    assert check.state == state
    assert said in check.finding
    assert check.remedy
    assert remedy in check.remedy
    assert check.finding.endswith(".")


def test_a_gpu_that_a_profile_cannot_do_without_stops() -> None:
    profile = load_profile("gpu-nvidia-4gb")
    only = profile.model_copy(update={"serve": profile.serve.model_copy(update={"backends": ("onnxruntime:cuda",)})})
    assert check_gpu(BOX, only).state == "stop"
    assert check_gpu(replace(BOX, gpus=(Gpu("NVIDIA T600", 3911, "nvidia"),)), only).state == "ok"


def test_a_clock_a_little_behind_is_right_enough() -> None:
    assert check_clock(judge(NOW - timedelta(hours=8), NOW)).state == "ok"


def test_a_better_profile_than_the_bundle_s_is_named_but_needs_nothing() -> None:
    check = check_profile(BOX, load_profile("cpu-generic"), KNOWN)
    assert check.state == "ok"
    assert "cpu-avx2 would use more of this machine." in check.finding


def test_of_two_findings_of_one_check_the_graver_one_is_told() -> None:
    fine, bad = Check("DOCTOR-002", "ok", "Fine."), Check("DOCTOR-002", "attention", "Bad.", "Mend it.")
    assert worst(fine, bad) == worst(bad, fine) == worst(None, bad) == bad
    assert worst(fine, None) == fine
