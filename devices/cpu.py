"""Processors: what ``/proc/cpuinfo`` says of them, and the names that profiles may demand. Pure."""

from __future__ import annotations

from dataclasses import dataclass

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
# every name that ``parse_cpuinfo`` can give, and so every name that a profile may demand
ISA_NAMES = tuple(sorted({*_X86_ISA.values(), *_ARM_ISA.values()}))
# any of these multiplies 8-bit numbers into 32-bit sums
VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")


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
