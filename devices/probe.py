"""What this machine is: processor, memory, disk, GPUs, installed backends, and what surrounds them.

``probe`` only looks; it imports no backend and opens no connection. What it reads are the kernel's text files, and
each of them is taken apart by a pure function (``devices.cpu``, ``limits``, ``gpu``, ``storage``, ``system``) that
tests feed with texts from other machines. Limits set by a container count.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from devices.clock import CLOCK_NAME, Clock, ClockState
from devices.cpu import VNNI, parse_cpuinfo
from devices.errors import DeviceError
from devices.gpu import Gpu as Gpu  # facts and GPUs are asked for together
from devices.gpu import gpus
from devices.gpu import nvidia_gpu as nvidia_gpu
from devices.kernel import kernel_text
from devices.limits import Limits, limits, usable_cores, usable_memory_mb
from devices.state import state_dir as default_state_dir
from devices.storage import FileSystem, disk_free_mb, file_system_of
from devices.system import TimeZone, libc, time_zone, tpm_version

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# distributions that install each backend, the usual one first
_DISTRIBUTIONS = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "paddle": ("paddlepaddle", "paddlepaddle-gpu"),
}


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
        libc: C library and its version; of musl only the name.
        python: Python version.
        problems: What could not be examined, in full sentences.
        limits: What control groups allow this process.
        file_system: What the state directory lies on or will lie on.
        tpm: Version of the security chip, ``2.0`` or ``1.2``; empty without one.
        time: What the clock of this machine says, ISO 8601 in UTC.
        clock: Whether that can be: ``behind`` what has passed already, ``ahead`` implausibly, or ``ok``.
        time_zone: How it turns UTC into local time.
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
    limits: Limits = Limits()
    file_system: FileSystem = FileSystem()
    tpm: str = ""
    time: str = ""
    clock: ClockState = "ok"
    time_zone: TimeZone = TimeZone()

    def as_dict(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return asdict(self)


def probe(state_dir: Path | None = None) -> Facts:
    """Examine this machine.

    Args:
        state_dir: Whose file system and clock file count, whether the directory exists yet or not; by default
            ``devices.state``'s. Nothing is written there.

    Raises:
        DeviceError: ``/proc`` cannot be read: this is not Linux, or it is not mounted.
    """
    cpu = parse_cpuinfo(kernel_text("/proc/cpuinfo"))
    place = state_dir or default_state_dir()
    found: tuple[Gpu, ...] = ()
    problems: tuple[str, ...] = ()
    try:
        found = gpus()
    except DeviceError as error:
        problems = (error.problem,)
    allowed, reading = limits(), Clock(place / CLOCK_NAME).peek()
    return Facts(
        arch=_MACHINES.get(platform.machine().lower(), platform.machine().lower()),
        cpu_model=cpu.model,
        cores=usable_cores(allowed),
        isa=cpu.isa,
        memory_mb=usable_memory_mb(allowed),
        disk_free_mb=disk_free_mb(place),
        gpus=found,
        backends=_backends(),
        kernel=platform.release(),
        libc=libc(),
        python=platform.python_version(),
        problems=problems,
        limits=allowed,
        file_system=file_system_of(place),
        tpm=tpm_version(),
        time=reading.wall.isoformat(timespec="seconds"),
        clock=reading.state,
        time_zone=time_zone(),
    )


def full_int8(facts: Facts) -> bool:
    """Whether the CPU computes INT8 with all 8 bits of the weights exactly.

    x86 without VNNI adds two 8-bit products into 16 bits with saturation (VPMADDUBSW): results are wrong, not slow.
    ARM multiplies into 16 bits and adds into 32.
    """
    return facts.arch != "x86_64" or not set(VNNI).isdisjoint(facts.isa)


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
