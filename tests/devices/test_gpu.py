from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import devices.gpu
from devices.errors import DeviceError
from devices.gpu import Gpu, gpus, nvidia_gpu, nvml_gpus, parse_device_tree_model

# NVML's own signatures (NVML API reference), so that sizes, pointers and return values pass through a real C call.
# A wrong size or order of arguments writes past a buffer or leaves a value at its canary.
FAKE_NVML = """
#include <string.h>
typedef void *nvmlDevice_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
static int open_count;
static int boards[2] = {0, 1};
int fake_open_count(void) { return open_count; }
int nvmlInit_v2(void) { if (INIT) return INIT; open_count++; return 0; }
int nvmlShutdown(void) { open_count--; return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned int length) {
    if (length < 80) return 7;
    strcpy(version, "580.95.05");
    return 0;
}
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    if (index > 1) return 2;
    *device = &boards[index];
    return 0;
}
int nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    if (length < 96) return 7;
    strcpy(name, *(int *)device ? "NVIDIA RTX A500 Laptop GPU" : "NVIDIA T600");
    return 0;
}
int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    memory->total = *(int *)device ? 4294967296ULL : 4101 * 1000000ULL;
    memory->free = memory->used = 1;
    return 0;
}
#ifndef OLD
int nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    *major = *(int *)device ? 8 : 7;
    *minor = *(int *)device ? 6 : 5;
    return 0;
}
#endif
"""


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., ctypes.CDLL]:
    """Builds a library with NVML's functions and loads it."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, so no library can be built to stand in for NVIDIA's")

    def build(*defines: str) -> ctypes.CDLL:
        source, library = tmp_path / "nvml.c", tmp_path / f"nvml{'-'.join(defines)}.so"
        source.write_text(FAKE_NVML, encoding="utf-8")
        flags = [f"-D{define}" for define in (*defines, "INIT=0") if define]
        if any(define.startswith("INIT=") for define in defines):
            flags.pop()
        subprocess.run(["gcc", "-shared", "-fPIC", *flags, "-o", library, source], check=True)
        return ctypes.CDLL(str(library))

    return build


def test_a_real_library_is_asked_for_name_memory_driver_and_generation_of_every_board(
    compiled: Callable[..., ctypes.CDLL],
) -> None:
    nvml = compiled()
    assert nvml_gpus(nvml) == (
        Gpu("NVIDIA T600", 3911, "nvidia", "580.95.05", 7.5),
        Gpu("NVIDIA RTX A500 Laptop GPU", 4096, "nvidia", "580.95.05", 8.6),
    )
    assert nvml.fake_open_count() == 0


def test_an_old_driver_says_nothing_about_the_generation(compiled: Callable[..., ctypes.CDLL]) -> None:
    assert [gpu.compute_capability for gpu in nvml_gpus(compiled("OLD"))] == [None, None]


def test_a_library_without_its_driver_is_an_error_with_a_remedy(compiled: Callable[..., ctypes.CDLL]) -> None:
    with pytest.raises(DeviceError, match="nvmlInit_v2 returned 9") as caught:
        nvml_gpus(compiled("INIT=9"))
    assert "nvidia-smi" in caught.value.remedy


def test_the_library_is_found_by_the_name_that_the_driver_installs(
    compiled: Callable[..., ctypes.CDLL], monkeypatch: pytest.MonkeyPatch
) -> None:
    nvml = compiled()
    asked = []
    monkeypatch.setattr(devices.gpu.ctypes, "CDLL", lambda name: asked.append(name) or nvml)
    found = nvidia_gpu()
    assert asked == ["libnvidia-ml.so.1"]
    assert found is not None
    assert found.name == "NVIDIA T600"


def test_without_nvidia_s_library_there_is_no_nvidia_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(devices.gpu.ctypes, "CDLL", missing)
    monkeypatch.setattr(devices.gpu, "_DRM", Path("/nonexistent"))
    assert gpus() == ()
    assert nvidia_gpu() is None


def test_a_jetson_is_known_by_its_device_tree() -> None:
    gpu = parse_device_tree_model("NVIDIA Jetson Orin Nano Developer Kit\0")
    assert gpu == Gpu("NVIDIA Jetson Orin Nano Developer Kit", None, "jetson")
    assert parse_device_tree_model("Raspberry Pi 5 Model B Rev 1.0\0") is None


def test_an_intel_gpu_is_known_by_its_vendor_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for card, vendor in (("card0", "0x8086"), ("card1", "0x1002"), ("card0-HDMI-A-1", "0x8086")):
        (tmp_path / card / "device").mkdir(parents=True)
        (tmp_path / card / "device" / "vendor").write_text(vendor + "\n")
        (tmp_path / card / "device" / "device").write_text("0x46d1\n")
    monkeypatch.setattr(devices.gpu, "_DRM", tmp_path)
    assert devices.gpu._intel_gpus() == (Gpu("Intel GPU 0x46d1", None, "intel"),)


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
