"""What this machine is: processor, memory, disk, GPUs, installed backends.

``probe`` only looks; it imports no backend and opens no connection. What it reads are the kernel's text files, and
each of them is taken apart by a pure function that tests feed with texts from other machines.
Limits set by a container count: a process that may use two of 64 cores has two.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Literal

from devices.errors import DeviceError

_MB = 1024 * 1024
_CGROUPS = Path("/sys/fs/cgroup")
_DRM = Path("/sys/class/drm")
_DEVICE_TREE_MODEL = Path("/proc/device-tree/model")
_TEGRA_RELEASE = Path("/etc/nv_tegra_release")  # "# R36 (release), REVISION: 4.3, GCID: ..., ..."

# instruction sets that decide how a network runs, named as the kernel names them on x86
_X86_ISA = {
    name: name
    for name in (
        *("sse4_2", "avx", "f16c", "fma", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
        *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    )
}
# on ARM the kernel says asimd for what everybody calls NEON; 32-bit kernels say neon
_ARM_ISA = {
    **{"asimd": "neon", "neon": "neon", "asimddp": "dotprod", "asimdhp": "fp16"},
    **{"i8mm": "i8mm", "bf16": "bf16", "sve": "sve"},
}
# MIDR part numbers of ARM's own cores (implementer 0x41), from their technical reference manuals
_ARM_CORES = {
    "0xd03": "Cortex-A53",
    "0xd05": "Cortex-A55",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse N1",
    "0xd40": "Neoverse V1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd49": "Neoverse N2",
}
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# distributions that install each backend, the usual one first
_DISTRIBUTIONS = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "paddle": ("paddlepaddle", "paddlepaddle-gpu"),
}


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: As its driver or the kernel calls it.
        memory_mb: Its own memory; None where it shares the machine's.
        vendor: ``jetson`` is an NVIDIA GPU on the same chip as the processor.
        driver: Version of NVIDIA's driver, for a Jetson the release of its Linux; empty for others.
    """

    name: str
    memory_mb: int | None
    vendor: Literal["nvidia", "intel", "jetson"]
    driver: str = ""


@dataclass(frozen=True)
class Facts:
    """What ``probe`` measured.

    Attributes:
        arch: ``x86_64``, ``aarch64``, or whatever else the kernel says.
        cpu_model: As the processor calls itself.
        cores: Logical cores that this process may use.
        isa: Instruction sets, sorted by name.
        memory_mb: Memory that this process may use.
        disk_free_mb: Free space where the state directory lies or will lie.
        gpus: GPUs that answered.
        backends: Version of each installed backend, by the backend's name.
        kernel: Kernel release.
        libc: C library and its version.
        python: Python version.
        problems: What could not be examined, in full sentences.
    """

    arch: str
    cpu_model: str
    cores: int
    isa: tuple[str, ...]
    memory_mb: int
    disk_free_mb: int
    gpus: tuple[Gpu, ...] = ()
    backends: Mapping[str, str] = field(default_factory=dict)
    kernel: str = ""
    libc: str = ""
    python: str = ""
    problems: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class CpuInfo:
    """What ``/proc/cpuinfo`` says.

    Attributes:
        model: Name of the processor; "unknown" if the text does not say.
        isa: What every one of its cores can do, sorted by name.
        processors: Logical cores that it lists.
    """

    model: str
    isa: tuple[str, ...]
    processors: int


def probe(state_dir: Path | None = None) -> Facts:
    """Examine this machine.

    Args:
        state_dir: Whose free disk space counts, whether it exists yet or not; by default
            ``EDGEKIT_STATE_DIR`` or else the home directory.

    Raises:
        DeviceError: ``/proc`` cannot be read: this is not Linux, or it is not mounted.
    """
    cpu = parse_cpuinfo(_read("/proc/cpuinfo"))
    state_dir = state_dir or Path(os.environ.get("EDGEKIT_STATE_DIR") or Path.home())
    problems: tuple[str, ...] = ()
    try:
        gpus = _gpus()
    except DeviceError as error:
        gpus, problems = (), (error.problem,)
    return Facts(
        arch=_MACHINES.get(platform.machine().lower(), platform.machine().lower()),
        cpu_model=cpu.model,
        cores=_cores(),
        isa=cpu.isa,
        memory_mb=_memory_mb(),
        disk_free_mb=_disk_free_mb(state_dir),
        gpus=gpus,
        backends=_backends(),
        kernel=platform.release(),
        libc=" ".join(platform.libc_ver()).strip() or "unknown",
        python=platform.python_version(),
        problems=problems,
    )


def nvidia_gpu() -> Gpu | None:
    """The first NVIDIA GPU, on a board or on a Jetson's chip; None without one, or where its driver does not answer."""
    try:
        return next((gpu for gpu in _gpus() if gpu.vendor != "intel"), None)
    except DeviceError:
        return None


def full_int8(facts: Facts) -> bool:
    """Whether the CPU computes INT8 with all 8 bits of the weights exactly.

    x86 without VNNI adds two 8-bit products into 16 bits with saturation (VPMADDUBSW): results are wrong, not slow.
    ARM multiplies into 16 bits and adds into 32.
    """
    return facts.arch != "x86_64" or bool({"avx512_vnni", "avx_vnni", "amx_int8"} & set(facts.isa))


def parse_cpuinfo(text: str) -> CpuInfo:
    """Take ``/proc/cpuinfo`` apart.

    Cores of different kinds on one chip have different flags; only what all of them have counts, since a thread
    may land on any.
    """
    model = part = ""
    sets: list[set[str]] = []
    processors = 0
    for line in text.splitlines():
        key, _, value = (piece.strip() for piece in line.partition(":"))
        if key == "processor":
            processors += 1
        elif key == "model name":
            model = model or value
        elif key == "CPU part":
            part = part or value.lower()
        elif key == "flags":
            sets.append({_X86_ISA[flag] for flag in value.split() if flag in _X86_ISA})
        elif key == "Features":
            sets.append({_ARM_ISA[flag] for flag in value.split() if flag in _ARM_ISA})
    isa = set.intersection(*sets) if sets else set()
    return CpuInfo(model or _ARM_CORES.get(part, part) or "unknown", tuple(sorted(isa)), processors)


def parse_meminfo(text: str) -> int:
    """The machine's memory in MB, from ``/proc/meminfo``.

    Raises:
        DeviceError: There is no ``MemTotal`` line.
    """
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "MemTotal":
            return int(value.split()[0]) // 1024
    raise DeviceError("/proc/meminfo has no line MemTotal, so the machine's memory is unknown.")


def parse_cpu_max(text: str) -> float | None:
    """Cores of a quota, from cgroup v2's ``cpu.max`` ("QUOTA PERIOD" in microseconds); None is no limit."""
    quota, _, period = text.strip().partition(" ")
    if quota in ("max", "", "-1"):
        return None
    return int(quota) / int(period or 100_000)


def parse_memory_max(text: str) -> int | None:
    """MB of a limit, from cgroup v2's ``memory.max`` or v1's ``memory.limit_in_bytes``; None is no limit.

    v1 says "no limit" by a number near 2**63.
    """
    value = text.strip()
    return None if value in ("max", "") or int(value) >= 2**60 else int(value) // _MB


def parse_cgroup(text: str, controller: str) -> str:
    """This process's group, from ``/proc/self/cgroup``: v1's line of ``controller`` before v2's; "/" without one."""
    unified = "/"
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return path
        if not controllers:
            unified = path
    return unified


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DeviceError(
            f"{path} cannot be read: {error.strerror}.", remedy="The kit runs on Linux with /proc mounted."
        ) from error


def _cores() -> int:
    cores = len(os.sched_getaffinity(0))
    for group in _groups("cpu"):
        quota = _limit(group / "cpu.max")
        if quota is None and (us := _limit(group / "cpu.cfs_quota_us")) is not None:
            quota = f"{us} {_limit(group / 'cpu.cfs_period_us') or 100_000}"
        if quota is not None and (limit := parse_cpu_max(quota)) is not None:
            cores = min(cores, max(1, int(limit)))
    return cores


def _memory_mb() -> int:
    memory = parse_meminfo(_read("/proc/meminfo"))
    for group in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (text := _limit(group / name)) is not None and (limit := parse_memory_max(text)) is not None:
                memory = min(memory, limit)
    return memory


def _groups(controller: str) -> list[Path]:
    """Directories whose limits bind this process: its group and all above it, under v1's and v2's roots."""
    relative = Path(parse_cgroup(_read("/proc/self/cgroup"), controller).lstrip("/"))
    roots = [root for root in (_CGROUPS / controller, _CGROUPS / "unified", _CGROUPS) if root.is_dir()]
    return [root / parent for root in roots for parent in (relative, *relative.parents)]


def _limit(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None  # this group, or this version of cgroups, sets no such limit


def _disk_free_mb(path: Path) -> int:
    for candidate in (path.absolute(), *path.absolute().parents):
        try:
            return shutil.disk_usage(candidate).free // _MB
        except OSError:
            continue  # not there yet, or behind a directory that we may not enter: it will lie where its parent does
    raise DeviceError(f"No file system was found for the state directory {path}.", remedy="Set EDGEKIT_STATE_DIR.")


def _backends() -> dict[str, str]:
    versions = {}
    for backend, distributions in _DISTRIBUTIONS.items():
        for distribution in distributions:
            try:
                versions[backend] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return versions


def _gpus() -> tuple[Gpu, ...]:
    if jetson := parse_device_tree_model(_limit(_DEVICE_TREE_MODEL) or ""):
        release = (_limit(_TEGRA_RELEASE) or "").partition(", GCID")[0].lstrip("# ")
        return (replace(jetson, driver=release),)  # its NVML, where there is one, answers only half of the questions
    return (*_nvidia_gpus(), *_intel_gpus())


def parse_device_tree_model(text: str) -> Gpu | None:
    """The GPU of a Jetson module, from ``/proc/device-tree/model``; None on any other board."""
    name = text.rstrip("\0\n")
    return Gpu(name, None, "jetson") if "Jetson" in name else None


def _intel_gpus() -> tuple[Gpu, ...]:
    found = []
    for card in sorted(_DRM.glob("card[0-9]")):
        if (_limit(card / "device" / "vendor") or "") == "0x8086":
            found.append(Gpu(f"Intel GPU {_limit(card / 'device' / 'device') or 'unknown'}", None, "intel"))
    return tuple(found)


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
            found.append(Gpu(_text(name), memory.total // _MB, "nvidia", _text(driver)))
        return tuple(found)
    finally:
        nvml.nvmlShutdown()
