from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.cpu import parse_cpuinfo
from devices.errors import DeviceError
from devices.match import best, match
from devices.probe import Facts, Gpu
from devices.profile import Profile, known_profiles, load_profile

ISA = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "amx_tile", "amx_int8", "neon", "dotprod")
PROFILES = known_profiles()


def machine(arch: str = "x86_64", isa: tuple[str, ...] = (), cores: int = 4, memory_mb: int = 7800) -> Facts:
    return Facts(arch, "a processor", cores, isa, memory_mb, 20_000, backends={"openvino": "2026.4.1"})


VNNI = ("avx2", "fma", "avx512f", "avx512_vnni")
JETSON = replace(
    machine("aarch64", ("neon", "dotprod"), 6, 3400), gpus=(Gpu("NVIDIA Jetson Orin Nano", None, "jetson"),)
)
N100 = machine(isa=("avx2", "fma", "avx_vnni"))
T600 = Gpu("NVIDIA T600", 3911, "nvidia", "580.95.05", 7.5)
A500 = Gpu("NVIDIA RTX A500 Laptop GPU", 4096, "nvidia", "580.95.05", 8.6)


@dataclass(frozen=True)
class Case:
    id: str
    facts: Facts
    profile: str


CASES = (
    Case("an old PC", machine(isa=("sse4_2",)), "cpu-generic"),
    Case("any ARM board", machine("aarch64", ("neon",)), "cpu-generic"),
    Case("a PC with AVX2", machine(isa=("avx2", "fma"), cores=2), "cpu-avx2"),
    Case("a PC with AVX2 and three cores", machine(isa=("avx2", "fma"), cores=3), "cpu-avx2"),
    Case("a PC with AVX2 and four cores", machine(isa=("avx2", "fma")), "cpu-avx2-4core"),
    Case("Cascade Lake, two cores", machine(isa=VNNI, cores=2), "cpu-avx512-vnni"),
    Case("Cascade Lake", machine(isa=VNNI), "cpu-avx512-vnni-4core"),
    Case("Zen 5", machine(isa=(*VNNI, "avx_vnni"), cores=2), "cpu-avx512-vnni"),
    Case("Sapphire Rapids", machine(isa=(*VNNI, "amx_tile", "amx_int8")), "cpu-amx"),
    Case("Sapphire Rapids, one core", machine(isa=(*VNNI, "amx_tile", "amx_int8"), cores=1), "cpu-generic"),
    Case("Cascade Lake with 1 GB", machine(isa=VNNI, memory_mb=1000), "cpu-generic"),
    Case("Jetson Orin Nano 4 GB", JETSON, "jetson-orin-nano-4gb"),
    Case("N100", replace(N100, gpus=(Gpu("Intel GPU 0x46d1", None, "intel"),)), "cpu-avx-vnni"),
    Case("N100 with two cores allowed", replace(N100, cores=2), "cpu-avx2"),
    Case("T600", replace(machine(isa=VNNI), gpus=(T600,)), "cpu-avx512-vnni-4core"),
)


RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize(
    ("name", "arch", "profile"),
    [
        ("xeon-e5-2680-v3", "x86_64", "cpu-avx2-4core"),
        ("xeon-platinum-8260m", "x86_64", "cpu-avx512-vnni-4core"),
        ("core-ultra-9-285", "x86_64", "cpu-avx-vnni"),
        ("xeon-platinum-8480", "x86_64", "cpu-amx"),
        ("ryzen-9950x", "x86_64", "cpu-avx512-vnni-4core"),
        ("graviton1", "aarch64", "cpu-generic"),
    ],
)
def test_recorded_processors_get_their_profile(name: str, arch: str, profile: str) -> None:
    cpu = parse_cpuinfo((RECORDED / f"cpuinfo-{name}.txt").read_text(encoding="utf-8"))
    assert best(machine(arch, cpu.isa)).name == profile


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_most_specific_profile_that_fits_is_chosen(case: Case) -> None:
    assert best(case.facts).name == case.profile


def test_a_board_of_4_gb_fits_its_profile_and_one_of_2_gb_does_not() -> None:
    profile = load_profile("gpu-nvidia-4gb")
    for memory_mb, fits in ((3911, True), (1900, False)):
        facts = replace(machine(isa=VNNI), gpus=(replace(T600, memory_mb=memory_mb),))
        (verdict,) = match(facts, (profile,))
        assert verdict.fits is fits


def test_turing_does_not_fit_the_profile_of_ampere_and_ampere_prefers_its_own() -> None:
    turing = [v.profile.name for v in match(replace(machine(isa=VNNI), gpus=(T600,)), PROFILES) if v.fits]
    assert "gpu-nvidia-4gb" in turing
    assert "gpu-nvidia-ampere-4gb" not in turing
    ampere = [v.profile.name for v in match(replace(machine(isa=VNNI), gpus=(A500,)), PROFILES) if v.fits]
    assert ampere.index("gpu-nvidia-ampere-4gb") < ampere.index("gpu-nvidia-4gb")
    (verdict,) = match(replace(machine(isa=VNNI), gpus=(T600,)), (load_profile("gpu-nvidia-ampere-4gb"),))
    assert (
        "No nvidia GPU with 3500 MB and compute capability 8.0 or later was found, only NVIDIA T600."
        in verdict.reasons_against
    )


def test_a_profile_on_request_comes_after_every_other_that_fits() -> None:
    names = [verdict.profile.name for verdict in match(machine(isa=VNNI), PROFILES) if verdict.fits]
    assert names == [
        "cpu-avx512-vnni-4core", "cpu-avx512-vnni", "cpu-avx2-4core", "cpu-avx2", "cpu-generic", "cpu-paddle"
    ]  # fmt: skip


def test_the_reasons_are_sentences_with_the_values_seen() -> None:
    (verdict,) = match(machine(isa=("avx2", "fma"), memory_mb=900), (load_profile("cpu-avx512-vnni"),))
    assert verdict.reasons_for == ("The processor is x86_64.", "4 cores are enough; the profile needs 2.")
    assert verdict.reasons_against == (
        "The processor lacks avx512f, avx512_vnni.",
        "900 MB of memory are too few; the profile needs 1800.",
        "Its server may take 1500 MB; this machine has 900.",
    )


def test_a_profile_that_fits_but_is_not_chosen_says_which_one_is_and_why() -> None:
    verdicts = match(machine(isa=VNNI), PROFILES)
    assert verdicts[0].reasons_against == ()
    assert "cpu-avx512-vnni-4core fits too, and asks for more of what this machine has." in verdicts[1].reasons_against


def test_a_missing_backend_is_told_but_does_not_rule_a_profile_out() -> None:
    (verdict,) = match(replace(machine(), backends={}), (load_profile("cpu-generic"),))
    assert verdict.fits
    assert verdict.reasons_against == ("Its first backend, openvino, is not installed here.",)


def test_a_machine_that_nothing_fits_is_an_error_with_its_values() -> None:
    with pytest.raises(DeviceError, match="None of 12 device profiles fits this machine .riscv64, 4 cores, 7800 MB"):
        best(machine("riscv64"))
    with pytest.raises(DeviceError):
        best(machine(), ())


FACTS = st.builds(
    Facts,
    arch=st.sampled_from(["x86_64", "aarch64"]),
    cpu_model=st.just("a processor"),
    cores=st.integers(1, 64),
    isa=st.lists(st.sampled_from(ISA), unique=True).map(tuple),
    memory_mb=st.integers(256, 64_000),
    disk_free_mb=st.just(1000),
    gpus=st.lists(
        st.builds(
            Gpu,
            st.just("a GPU"),
            st.none() | st.integers(512, 96_000),
            st.sampled_from(["nvidia", "intel", "jetson"]),
            st.just(""),
            st.none() | st.sampled_from([6.1, 7.5, 8.6, 8.9, 12.0]),
        ),
        max_size=2,
    ).map(tuple),
    backends=st.just({"openvino": "1"}),
)


# equally demanding ones, by another name and even by the same name, still have one order
TIED = (
    *PROFILES,
    *(profile.model_copy(update={"name": profile.name + "-branch"}) for profile in PROFILES),
    *(profile.model_copy(update={"summary": "Another."}) for profile in PROFILES),
)


@settings(deadline=None)
@given(FACTS, st.permutations(TIED))
def test_matching_is_deterministic_and_ignores_the_order_of_profiles(facts: Facts, shuffled: list[Profile]) -> None:
    assert match(facts, shuffled) == match(facts, TIED) == match(facts, TIED)


@settings(deadline=None)
@given(FACTS)
def test_some_profile_fits_every_x86_64_and_aarch64_and_the_chosen_one_is_never_on_request(facts: Facts) -> None:
    verdicts = match(facts, PROFILES)
    assert "cpu-generic" in [verdict.profile.name for verdict in verdicts if verdict.fits]
    assert not best(facts).match.on_request


@settings(deadline=None)
@given(FACTS)
def test_fitting_profiles_come_first(facts: Facts) -> None:
    fits = [verdict.fits for verdict in match(facts, PROFILES)]
    assert fits == sorted(fits, reverse=True)
