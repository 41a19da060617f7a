from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

import devices.probe
from devices.errors import DeviceError
from devices.probe import (
    Gpu,
    nvml_gpus,
    parse_cgroup,
    parse_cpu_max,
    parse_cpuinfo,
    parse_device_tree_model,
    parse_meminfo,
    parse_memory_max,
    probe,
)

# Shortened as the kernel prints them; one processor each unless the test needs more.
CASCADE_LAKE = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz
stepping\t: 7
cpu cores\t: 20
flags\t\t: fpu vme de pse tsc msr sse sse2 ht syscall nx pni ssse3 fma cx16 sse4_1 sse4_2 movbe popcnt aes xsave avx \
f16c rdrand bmi1 hle avx2 smep bmi2 erms avx512f avx512dq rdseed adx smap clflushopt clwb avx512cd avx512bw avx512vl \
pku ospke avx512_vnni md_clear flush_l1d arch_capabilities
bugs\t\t: spectre_v1 spectre_v2 swapgs taa

processor\t: 1
model name\t: Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz
flags\t\t: fpu sse4_2 avx f16c fma avx2 avx512f avx512bw avx512vl avx512_vnni
"""
ZEN_5 = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 26
model\t\t: 2
model name\t: AMD EPYC 9555 64-Core Processor
flags\t\t: fpu sse sse2 ssse3 fma cx16 sse4_1 sse4_2 avx f16c sse4a avx2 avx512f avx512dq avx512ifma avx512cd sha_ni \
avx512bw avx512vl avx_vnni avx512_bf16 avx512vbmi avx512_vbmi2 gfni vaes avx512_vnni avx512_bitalg avx512_vp2intersect
"""
N100 = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 190
model name\t: Intel(R) N100
flags\t\t: fpu sse sse2 ssse3 sdbg fma cx16 sse4_1 sse4_2 x2apic movbe popcnt aes xsave avx f16c rdrand bmi1 avx2 \
bmi2 erms rdseed adx smap clflushopt clwb sha_ni xsaveopt avx_vnni umip pku waitpkg gfni vaes serialize
vmx flags\t: vnmi preemption_timer ept vpid avx512_vnni_is_no_vmx_flag
"""
CORTEX_A78AE = """\
processor\t: 0
BogoMIPS\t: 62.50
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp \
uscat ilrcpc flagm paca pacg
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd42
CPU revision\t: 1

processor\t: 1
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd42
"""


@pytest.mark.parametrize(
    ("text", "model", "has", "lacks", "processors"),
    [
        pytest.param(CASCADE_LAKE, "Intel(R) Xeon(R) Gold 6248 CPU @ 2.50GHz",
                     {"avx2", "fma", "avx512f", "avx512_vnni"}, {"avx_vnni", "amx_int8", "avx512_bf16"}, 2,
                     id="cascade-lake"),
        pytest.param(ZEN_5, "AMD EPYC 9555 64-Core Processor",
                     {"avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16"}, {"amx_int8"}, 1,
                     id="zen-5"),
        pytest.param(N100, "Intel(R) N100", {"avx2", "fma", "avx_vnni"}, {"avx512f", "avx512_vnni"}, 1, id="n100"),
        pytest.param(CORTEX_A78AE, "Cortex-A78AE", {"neon", "dotprod", "fp16"}, {"sve", "i8mm", "avx2"}, 2,
                     id="cortex-a78ae"),
    ],
)  # fmt: skip
def test_cpuinfo_of_real_machines_gives_model_and_instruction_sets(
    text: str, model: str, has: set[str], lacks: set[str], processors: int
) -> None:
    cpu = parse_cpuinfo(text)
    assert cpu.model == model
    assert has <= set(cpu.isa)
    assert not lacks & set(cpu.isa)
    assert list(cpu.isa) == sorted(cpu.isa)
    assert cpu.processors == processors


def test_only_what_every_core_can_do_counts() -> None:
    assert parse_cpuinfo("processor: 0\nflags: avx2 avx512f\n\nprocessor: 1\nflags: avx2\n").isa == ("avx2",)


def test_an_empty_cpuinfo_says_unknown_instead_of_failing() -> None:
    assert parse_cpuinfo("") == devices.probe.CpuInfo("unknown", (), 0)


def test_meminfo_is_read_in_kilobytes_and_told_in_megabytes() -> None:
    assert parse_meminfo("MemTotal:        3956424 kB\nMemFree:  1 kB\n") == 3863
    with pytest.raises(DeviceError, match="no line MemTotal"):
        parse_meminfo("MemFree: 1 kB\n")


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000\n", None), ("150000 100000", 1.5), ("-1 100000", None), ("200000 50000", 4.0)]
)
def test_a_cpu_quota_is_told_in_cores(text: str, cores: float | None) -> None:
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize(
    ("text", "megabytes"), [("max\n", None), ("9223372036854771712\n", None), ("2147483648\n", 2048)]
)
def test_a_memory_limit_is_told_in_megabytes(text: str, megabytes: int | None) -> None:
    assert parse_memory_max(text) == megabytes


def test_the_group_of_a_process_is_found_in_both_versions() -> None:
    assert parse_cgroup("0::/system.slice/kit.service\n", "memory") == "/system.slice/kit.service"
    mixed = "4:memory:/a\n2:cpu,cpuacct:/b\n0::/c\n"
    assert [parse_cgroup(mixed, name) for name in ("memory", "cpu", "pids")] == ["/a", "/b", "/c"]


def test_limits_of_the_own_group_and_of_every_group_above_it_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "branch" / "kit"
    own.mkdir(parents=True)
    (own / "cpu.max").write_text("max 100000")
    (own.parent / "cpu.max").write_text("100000 100000")
    (own / "memory.max").write_text(str(64 * 1024 * 1024))
    texts = {"/proc/self/cgroup": "0::/branch/kit\n", "/proc/meminfo": "MemTotal: 4000000 kB\n"}
    monkeypatch.setattr(devices.probe, "_CGROUPS", tmp_path)
    monkeypatch.setattr(devices.probe, "_read", texts.__getitem__)
    monkeypatch.setattr(devices.probe.os, "sched_getaffinity", lambda _: set(range(8)))
    assert devices.probe._cores() == 1
    assert devices.probe._memory_mb() == 64


def test_the_older_kind_of_group_limits_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = tmp_path / "cpu" / "kit"
    cpu.mkdir(parents=True)
    (cpu / "cpu.cfs_quota_us").write_text("250000\n")
    (cpu / "cpu.cfs_period_us").write_text("100000\n")
    (cpu.parent / "cpu.cfs_quota_us").write_text("-1\n")
    monkeypatch.setattr(devices.probe, "_CGROUPS", tmp_path)
    monkeypatch.setattr(devices.probe, "_read", lambda _: "2:cpu,cpuacct:/kit\n")
    monkeypatch.setattr(devices.probe.os, "sched_getaffinity", lambda _: set(range(8)))
    assert devices.probe._cores() == 2


def test_a_jetson_is_known_by_its_device_tree() -> None:
    gpu = parse_device_tree_model("NVIDIA Jetson Orin Nano Developer Kit\0")
    assert gpu == Gpu("NVIDIA Jetson Orin Nano Developer Kit", None, "jetson")
    assert parse_device_tree_model("Raspberry Pi 5 Model B Rev 1.0\0") is None


def test_an_intel_gpu_is_known_by_its_vendor_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for card, vendor in (("card0", "0x8086"), ("card1", "0x1002"), ("card0-HDMI-A-1", "0x8086")):
        (tmp_path / card / "device").mkdir(parents=True)
        (tmp_path / card / "device" / "vendor").write_text(vendor + "\n")
        (tmp_path / card / "device" / "device").write_text("0x46d1\n")
    monkeypatch.setattr(devices.probe, "_DRM", tmp_path)
    assert devices.probe._intel_gpus() == (Gpu("Intel GPU 0x46d1", None, "intel"),)


class FakeNvml(SimpleNamespace):
    """Answers NVML's calls for one board, or with an error code where told."""

    def __init__(self, **codes: int) -> None:
        super().__init__(codes=codes, closed=0)

    def nvmlInit_v2(self) -> int:
        return self.codes.get("init", 0)

    def nvmlSystemGetDriverVersion(self, version: ctypes.Array[ctypes.c_char], length: object) -> int:
        version.value = b"580.95.05"
        return 0

    def nvmlShutdown(self) -> int:
        self.closed += 1
        return 0

    def nvmlDeviceGetCount_v2(self, count: object) -> int:
        ctypes.cast(count, ctypes.POINTER(ctypes.c_uint))[0] = 1
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index: object, handle: object) -> int:
        return 0

    def nvmlDeviceGetName(self, handle: object, name: ctypes.Array[ctypes.c_char], length: object) -> int:
        name.value = b"NVIDIA T600"
        return 0

    def nvmlDeviceGetMemoryInfo(self, handle: object, memory: object) -> int:
        ctypes.cast(memory, ctypes.POINTER(ctypes.c_ulonglong))[0] = 3911 * 1024 * 1024
        return self.codes.get("memory", 0)


def test_nvml_gives_name_memory_and_driver_and_is_shut_down() -> None:
    nvml = FakeNvml()
    assert nvml_gpus(nvml) == (Gpu("NVIDIA T600", 3911, "nvidia", "580.95.05"),)  # type: ignore[arg-type]
    assert nvml.closed == 1


def test_an_nvml_error_is_translated_and_still_shut_down() -> None:
    nvml = FakeNvml(memory=15)
    with pytest.raises(DeviceError, match="nvmlDeviceGetMemoryInfo returned 15"):
        nvml_gpus(nvml)  # type: ignore[arg-type]
    assert nvml.closed == 1


def test_a_driver_that_does_not_answer_is_a_problem_told_not_a_failed_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.probe, "_gpus", lambda: nvml_gpus(FakeNvml(init=9)))  # type: ignore[arg-type]
    facts = probe()
    assert facts.gpus == ()
    assert len(facts.problems) == 1
    assert "nvmlInit_v2 returned 9" in facts.problems[0]


def test_this_machine_can_be_probed_and_told_as_json(tmp_path: Path) -> None:
    facts = probe(tmp_path / "not" / "there" / "yet")
    assert facts.cores >= 1
    assert facts.memory_mb > 256
    assert facts.disk_free_mb > 0
    assert facts.backends["openvino"] == metadata.version("openvino")
    told = json.loads(json.dumps(facts.as_dict()))
    assert told["cores"] == facts.cores
    assert told["isa"] == list(facts.isa)


def test_probing_and_matching_import_no_backend() -> None:
    code = (
        "import sys; from devices.probe import probe; from devices.match import best; best(probe()); "
        "print([name for name in ('openvino', 'onnxruntime', 'paddle', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
