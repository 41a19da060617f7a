from __future__ import annotations

from pathlib import Path

import pytest

from devices.cpu import ISA_NAMES, CpuInfo, parse_cpuinfo

RECORDED = Path(__file__).parent / "recorded"
# four flags of the product's documentation: no recording of one was to be had
N100 = """\
processor\t: 0
model name\t: Intel(R) N100
flags\t\t: fpu sse4_2 avx f16c fma avx2 avx_vnni
"""


@pytest.mark.parametrize(
    ("name", "model", "has", "lacks", "processors"),
    [
        pytest.param("xeon-e5-2680-v3", "Intel(R) Xeon(R) CPU E5-2680 v3 @ 2.50GHz", {"avx2", "fma"},
                     {"avx512f", "avx_vnni", "avx512_vnni"}, 1, id="haswell"),
        pytest.param("xeon-platinum-8260m", "Intel(R) Xeon(R) Platinum 8260M CPU @ 2.40GHz",
                     {"avx2", "fma", "avx512f", "avx512_vnni"}, {"avx_vnni", "amx_int8", "avx512_bf16"}, 1,
                     id="cascade-lake"),
        pytest.param("core-ultra-9-285", "Intel(R) Core(TM) Ultra 9 285", {"avx2", "fma", "avx_vnni"},
                     {"avx512f", "avx512_vnni"}, 1, id="arrow-lake"),
        pytest.param("xeon-platinum-8480", "Intel(R) Xeon(R) Platinum 8480+",
                     {"avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"},
                     set(), 1, id="sapphire-rapids"),
        pytest.param("ryzen-9950x", "AMD Ryzen 9 9950X 16-Core Processor", {"avx512_vnni", "avx_vnni", "avx512_bf16"},
                     {"amx_int8"}, 1, id="zen-5"),
        pytest.param("epyc-zen5-guest", "AMD EPYC", {"avx512_vnni", "avx_vnni"}, {"amx_int8"}, 2, id="zen-5-guest"),
        pytest.param("graviton1", "Cortex-A72", {"neon"}, {"dotprod", "fp16", "sve"}, 1, id="cortex-a72"),
        pytest.param("jetson-orin", "Cortex-A78AE", {"neon", "dotprod", "fp16"}, {"sve", "i8mm", "avx2"}, 2,
                     id="cortex-a78ae"),
    ],
)  # fmt: skip
def test_cpuinfo_of_real_machines_gives_model_and_instruction_sets(
    name: str, model: str, has: set[str], lacks: set[str], processors: int
) -> None:
    cpu = parse_cpuinfo((RECORDED / f"cpuinfo-{name}.txt").read_text(encoding="utf-8"))
    assert cpu.model == model
    assert has <= set(cpu.isa) <= set(ISA_NAMES)
    assert not lacks & set(cpu.isa)
    assert list(cpu.isa) == sorted(cpu.isa)
    assert cpu.processors == processors


def test_an_n100_has_vnni_without_avx_512() -> None:
    assert parse_cpuinfo(N100).isa == ("avx", "avx2", "avx_vnni", "f16c", "fma", "sse4_2")


def test_what_a_virtual_machine_may_be_given_is_no_instruction_set_of_the_processor() -> None:
    assert parse_cpuinfo("processor: 0\nflags: avx2\nvmx flags: avx512f\n").isa == ("avx2",)


def test_only_what_every_core_can_do_counts() -> None:
    assert parse_cpuinfo("processor: 0\nflags: avx2 avx512f\n\nprocessor: 1\nflags: avx2\n").isa == ("avx2",)


def test_an_empty_cpuinfo_says_unknown_instead_of_failing() -> None:
    assert parse_cpuinfo("") == CpuInfo("unknown", (), 0)
