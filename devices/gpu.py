"""GPUs: through NVIDIA's management library, the device tree of a Jetson, and the kernel's list of cards."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from devices.errors import DeviceError
from devices.kernel import text_if_any

_MB = 1024 * 1024
_DRM = Path("/sys/class/drm")
_DEVICE_TREE_MODEL = Path("/proc/device-tree/model")
_TEGRA_RELEASE = Path("/etc/nv_tegra_release")  # "# R36 (release), REVISION: 4.3, GCID: ..., ..."


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: As its driver or the kernel calls it.
        memory_mb: Its own memory; None where it shares the machine's.
        vendor: ``jetson`` is an NVIDIA GPU on the same chip as the processor.
        driver: Version of NVIDIA's driver, for a Jetson the release of its Linux; empty for others.
        compute_capability: CUDA's generation of an NVIDIA board, such as 7.5 for Turing and 8.6 for Ampere's small
            boards (CUDA C++ Programming Guide, "Compute Capabilities"); None where nothing told it.
    """

    name: str
    memory_mb: int | None
    vendor: Literal["nvidia", "intel", "jetson"]
    driver: str = ""
    compute_capability: float | None = None


def gpus() -> tuple[Gpu, ...]:
    """The GPUs that answer: of a Jetson its own, otherwise NVIDIA's boards before Intel's.

    Raises:
        DeviceError: NVIDIA's library is there, but the driver behind it does not answer.
    """
    if jetson := parse_device_tree_model(text_if_any(_DEVICE_TREE_MODEL) or ""):
        release = (text_if_any(_TEGRA_RELEASE) or "").partition(", GCID")[0].lstrip("# ")
        return (replace(jetson, driver=release),)  # its NVML, where there is one, answers only half of the questions
    return (*_nvidia_gpus(), *_intel_gpus())


def parse_device_tree_model(text: str) -> Gpu | None:
    """The GPU of a Jetson module, from ``/proc/device-tree/model``; None on any other board."""
    name = text.rstrip("\0\n")
    return Gpu(name, None, "jetson") if "Jetson" in name else None


def _intel_gpus() -> tuple[Gpu, ...]:
    found = []
    for card in sorted(_DRM.glob("card[0-9]")):
        if (text_if_any(card / "device" / "vendor") or "") == "0x8086":
            found.append(Gpu(f"Intel GPU {text_if_any(card / 'device' / 'device') or 'unknown'}", None, "intel"))
    return tuple(found)


def nvidia_gpu() -> Gpu | None:
    """The first NVIDIA GPU, on a board or on a Jetson's chip; None without one, or where its driver does not answer."""
    try:
        return next((gpu for gpu in gpus() if gpu.vendor != "intel"), None)
    except DeviceError:
        return None


class _NvmlMemory(ctypes.Structure):
    # nvmlMemory_t of the NVML reference manual: bytes
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


def _text(buffer: ctypes.Array[ctypes.c_char]) -> str:
    return buffer.value.decode("utf-8", "replace")


def _nvidia_gpus() -> tuple[Gpu, ...]:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ()  # no NVIDIA driver: the usual branch box
    return nvml_gpus(nvml)


def nvml_gpus(nvml: ctypes.CDLL) -> tuple[Gpu, ...]:
    """Ask NVML for its GPUs (NVML reference manual, functions of the same names).

    Raises:
        DeviceError: The library is there, but the driver behind it does not answer.
    """

    def call(function: str, *arguments: object) -> None:
        code = getattr(nvml, function)(*arguments)
        if code != 0:
            raise DeviceError(
                f"The NVIDIA driver did not answer: {function} returned {code}, so its GPUs are not counted.",
                state="The machine is treated as one without an NVIDIA GPU.",
                remedy="Check with nvidia-smi that driver and library are of the same version.",
            )

    call("nvmlInit_v2")
    try:
        driver, count = ctypes.create_string_buffer(80), ctypes.c_uint()
        call("nvmlSystemGetDriverVersion", driver, ctypes.c_uint(len(driver)))
        call("nvmlDeviceGetCount_v2", ctypes.byref(count))
        found = []
        for index in range(count.value):
            handle, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(96), _NvmlMemory()
            call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
            call("nvmlDeviceGetName", handle, name, ctypes.c_uint(len(name)))
            call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(memory))
            capability = None
            if hasattr(nvml, "nvmlDeviceGetCudaComputeCapability"):  # drivers before R384 have no such function
                major, minor = ctypes.c_int(), ctypes.c_int()
                call("nvmlDeviceGetCudaComputeCapability", handle, ctypes.byref(major), ctypes.byref(minor))
                capability = float(f"{major.value}.{minor.value}")
            found.append(Gpu(_text(name), memory.total // _MB, "nvidia", _text(driver), capability))
        return tuple(found)
    finally:
        nvml.nvmlShutdown()
