from __future__ import annotations

from pathlib import Path

import pytest

from devices.cpu import VNNI
from devices.errors import ProfileError
from devices.profile import PROFILES_DIR, known_profiles, load_profile, profile_files, profile_path

GENERIC = (PROFILES_DIR / "cpu-generic.toml").read_text(encoding="utf-8")


def test_every_profile_of_the_kit_loads_under_its_own_name_and_names_a_source() -> None:
    profiles = known_profiles()
    assert {profile.name for profile in profiles} == {
        "cpu-generic", "cpu-avx2", "cpu-avx2-4core", "cpu-avx-vnni", "cpu-avx512-vnni", "cpu-avx512-vnni-4core",
        "cpu-amx", "cpu-paddle", "igpu-intel", "gpu-nvidia-4gb", "gpu-nvidia-ampere-4gb", "jetson-orin-nano-4gb",
    }  # fmt: skip
    for profile in profiles:
        assert profile == load_profile(profile.name)
        assert profile.sources


def test_int8_without_vnni_keeps_weights_in_seven_bits() -> None:
    for profile in known_profiles():
        if profile.serve.int8:
            vnni = not set(VNNI).isdisjoint(profile.match.isa)
            assert profile.serve.reduce_range is not vnni, profile.name


def test_a_gpu_profile_says_in_its_file_that_nothing_has_run_on_the_gpu() -> None:
    for profile in known_profiles():
        if profile.match.gpu != "none":
            assert "Run so far: nothing" in (PROFILES_DIR / f"{profile.name}.toml").read_text(encoding="utf-8")


def test_a_bank_s_own_profile_loads_by_path(tmp_path: Path) -> None:
    own = tmp_path / "counter-pc.toml"
    own.write_text(GENERIC.replace("cpu-generic", "counter-pc"), encoding="utf-8")
    assert load_profile(own).name == load_profile(str(own)).name == "counter-pc"


def test_a_misspelt_name_gets_the_nearest_one_and_the_whole_list() -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile("cpu-avx512-vni")
    assert caught.value.problem == "There is no device profile 'cpu-avx512-vni' (did you mean 'cpu-avx512-vnni'?)."
    assert "cpu-generic" in caught.value.remedy


@pytest.mark.parametrize(
    ("find", "put", "said"),
    [
        ("threads = 2", "threads = 2\nthraeds = 3", "serve.thraeds: there is no such key (did you mean 'threads'?)."),
        ("threads = 2", "thread = 2", "serve.thread: there is no such key (did you mean 'threads'?)."),
        ("[serve]", "[server]", "wrong at server: there is no such key (did you mean 'serve'?)."),
        ("threads = 2", "threads = 2\nzzz = 3", "serve.zzz: there is no such key."),
        (
            "isa = []",
            'isa = ["avx512_vni"]',
            "match.isa: 'avx512_vni' is no instruction set that the kit knows (did you mean 'avx512_vnni'?).",
        ),
        ('["openvino", "onnxruntime"]', '["openvine"]', "'openvine' is not one of openvino, onnxruntime, paddle"),
        ('["openvino", "onnxruntime"]', '["openvine"]', "(did you mean 'openvino'?)."),
        ("threads = 2\n", "", "serve.threads: the key is missing"),
        ("threads = 2", "threads = 0", "serve.threads: input should be greater than or equal to 1"),
        ('["openvino", "onnxruntime"]', '["openvino", "tensorrt"]', "serve.backends.1"),
        ("threads = 2", "threads = ", "not TOML"),
        ('name = "cpu-generic"', 'name = "another"', "wrong at name: it says 'another', its file 'own'"),
    ],
)
def test_a_malformed_profile_is_refused_with_its_file_and_key(tmp_path: Path, find: str, put: str, said: str) -> None:
    assert find in GENERIC
    own = tmp_path / "own.toml"
    own.write_text(GENERIC.replace(find, put), encoding="utf-8")
    with pytest.raises(ProfileError) as caught:
        load_profile(own)
    assert str(own) in caught.value.problem
    assert said in caught.value.problem


def test_a_profile_file_that_is_not_there_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="missing.toml cannot be read: No such file"):
        load_profile(tmp_path / "missing.toml")


def test_a_bank_s_directory_adds_profiles_and_overrides_the_kit_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counter-pc.toml").write_text(GENERIC.replace("cpu-generic", "counter-pc"), encoding="utf-8")
    (tmp_path / "cpu-generic.toml").write_text(GENERIC.replace("threads = 2", "threads = 1"), encoding="utf-8")
    kit = {profile.name for profile in known_profiles()}
    assert {profile.name for profile in known_profiles(tmp_path)} == kit | {"counter-pc"}
    assert load_profile("cpu-generic").serve.threads == 2
    monkeypatch.setenv("EDGEKIT_PROFILES_DIR", str(tmp_path))
    assert load_profile("counter-pc").name == "counter-pc"
    assert load_profile("cpu-generic").serve.threads == 1
    assert profile_path("cpu-generic") == tmp_path / "cpu-generic.toml"
    assert profile_path("cpu-avx2") == PROFILES_DIR / "cpu-avx2.toml"
    assert list(profile_files()) == sorted(kit | {"counter-pc"})


def test_a_bank_s_directory_that_is_not_there_or_holds_a_typo_is_never_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_PROFILES_DIR", str(tmp_path / "missing"))
    with pytest.raises(ProfileError, match="missing, is not there") as caught:
        load_profile("cpu-generic")
    assert "EDGEKIT_PROFILES_DIR" in caught.value.remedy
    (tmp_path / "counter-pc.toml").write_text(GENERIC.replace("cpu-generic", "counter-pc").replace("threads", "thread"))
    with pytest.raises(ProfileError, match=r"counter-pc.toml is wrong at serve.thread"):
        known_profiles(tmp_path)
