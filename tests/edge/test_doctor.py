"""The doctor on a small real bundle: what stops it, what needs attention, and that it changes nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from onnx import TensorProto, helper

import edge.doctor
from devices.doctor.check import NAMES
from devices.probe import probe
from devices.profile import load_profile, profile_path
from devices.provision.slots import Layout, activate_slot, begin_slot, complete_slot, create_root, seal_slot
from edge.bundle.build import build_bundle
from edge.bundle.keys import signing_key
from edge.cli import main
from edge.doctor import Diagnosis, diagnose, golden_checks
from edge.golden import GoldenRun
from runtime.artifact import Artifact, ModelEntry

POLICY = Path(__file__).parents[2] / "examples" / "policy.toml"
INPUT = np.array([[0.5, -1.0, 2.0]], np.float32)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    """Builds a bundle of one model that answers ``x``; keyword arguments change its entry."""

    def build(out: Path | None = None, *, off_by: float = 0.0, profile: str = "cpu-generic", **entry: Any) -> Path:
        artifact = tmp_path / "artifact"
        artifact.mkdir(exist_ok=True)
        values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("x", "logits")]
        graph = helper.make_graph([helper.make_node("Identity", ["x"], ["logits"])], "same", values[:1], values[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (artifact / "model.onnx").write_bytes(model.SerializeToString())
        np.savez(artifact / "golden.npz", **{"in:x": INPUT, "out:logits": INPUT + np.float32(off_by)})
        usual = {"name": "text-risk", "golden": "golden.npz"}
        Artifact(kind="model", profile=profile, models=(ModelEntry(**usual | entry),)).write(artifact)
        return_to = out or tmp_path / "bundle"
        build_bundle(
            [artifact],
            profile=load_profile(profile),
            profile_toml=profile_path(profile).read_bytes(),
            policy=POLICY,
            out=return_to,
            key=signing_key(),
            name="test",
            version="1",
            created=datetime(2026, 1, 2, tzinfo=UTC),
        )
        return return_to

    return build


def states(found: Diagnosis) -> dict[str, str]:
    """What is not well, by the check's name."""
    return {check.name: check.state for check in found.checks if check.state != "ok"}


def test_a_whole_bundle_on_its_machine_can_serve_and_nothing_is_changed(
    bundle: Callable[..., Path], port: int, own_state: Path
) -> None:
    path = bundle()
    before = sorted(own_state.rglob("*"))
    found = diagnose(bundle=path, port=port)
    assert found.can_serve is True
    assert "stop" not in states(found).values()
    assert found.sentence.startswith("This device can serve.")
    assert sorted(own_state.rglob("*")) == before
    assert {check.code for check in found.checks} == set(NAMES) - {"DOCTOR-017"}
    assert [run.backend for run in found.golden] == ["openvino", "onnxruntime"]
    for run in found.golden:
        assert run.passed
        assert run.drift == run.flips == 0.0
        assert run.ms is not None
        assert run.ms > 0


def test_without_a_bundle_it_says_what_speaks_against_the_machine_alone(port: int) -> None:
    found = diagnose(port=port)
    assert found.can_serve is None
    assert "name a bundle" in found.sentence
    assert not {"DOCTOR-017", "DOCTOR-018", "DOCTOR-019"} & {check.code for check in found.checks}


def test_a_flipped_byte_stops_and_is_named_with_its_error(bundle: Callable[..., Path], port: int) -> None:
    path = bundle()
    model = path / "artifact" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"\0")
    found = diagnose(bundle=path, port=port)
    assert found.can_serve is False
    assert states(found)["bundle"] == "stop"
    check = next(each for each in found.checks if each.name == "bundle")
    assert "artifact/model.onnx was changed" in check.finding
    assert "[BUNDLE-003]" in check.finding
    assert found.sentence.startswith("This device cannot serve: bundle DOCTOR-018.")
    assert found.golden == ()


def test_models_that_drift_on_every_backend_stop(bundle: Callable[..., Path], port: int) -> None:
    found = diagnose(bundle=bundle(off_by=0.5, tolerance=0.1), port=port)
    assert found.can_serve is False
    assert [check.state for check in found.checks if check.code == "DOCTOR-019"] == ["stop", "stop"]
    assert all("differ from the golden ones by 0.5; 0.1 is allowed" in run.problem for run in found.golden)
    assert found.golden[0].drift == pytest.approx(0.5)


def test_int8_weights_of_8_bits_stop_a_processor_without_vnni(
    bundle: Callable[..., Path], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle(profile="cpu-avx2", precision="int8", reduce_range=False)
    monkeypatch.setattr(edge.doctor, "probe", lambda place: replace(probe(place), arch="x86_64", isa=("avx2", "fma")))
    found = diagnose(bundle=path, port=port)
    assert states(found)["int8"] == states(found)["golden set"] == "stop"
    assert {run.problem for run in found.golden} == {"its INT8 weights use all 8 bits, and this processor has no VNNI."}
    monkeypatch.setattr(edge.doctor, "probe", lambda place: replace(probe(place), isa=("avx2", "fma", "avx_vnni")))
    assert diagnose(bundle=path, port=port).can_serve is True


def test_int8_weights_of_7_bits_need_no_vnni(
    bundle: Callable[..., Path], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge.doctor, "probe", lambda place: replace(probe(place), arch="x86_64", isa=("avx2", "fma")))
    found = diagnose(bundle=bundle(profile="cpu-avx2", precision="int8", reduce_range=True), port=port)
    assert found.can_serve is True
    assert "int8" not in states(found)


def test_a_bundle_for_another_kind_of_device_stops_or_needs_attention(
    bundle: Callable[..., Path], port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bundle(profile="cpu-avx2")
    monkeypatch.setattr(edge.doctor, "probe", lambda place: replace(probe(place), isa=("sse4_2",)))
    assert states(diagnose(bundle=path, port=port))["profile"] == "attention"
    monkeypatch.setattr(edge.doctor, "probe", lambda place: replace(probe(place), arch="aarch64", isa=("neon",)))
    assert states(diagnose(bundle=path, port=port))["profile"] == "stop"


def test_a_clock_that_says_1970_stops(bundle: Callable[..., Path], port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    old = edge.doctor.Clock

    def at_1970(path: Path) -> Any:
        return old(path, wall=lambda: datetime(1970, 1, 1, tzinfo=UTC))

    monkeypatch.setattr(edge.doctor, "Clock", at_1970)
    found = diagnose(bundle=bundle(), port=port)
    assert states(found)["clock"] == "stop"
    assert "1970-01-01" in next(check.finding for check in found.checks if check.name == "clock")


def test_a_taken_port_stops(bundle: Callable[..., Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = diagnose(bundle=bundle(), port=taken.getsockname()[1])
    assert states(found)["port"] == "stop"


def test_of_a_provisioned_device_the_active_slot_s_bundle_is_run(
    bundle: Callable[..., Path], port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "kit"
    create_root(root)
    name = begin_slot(root, "loans-1", 1)
    bundle(Layout(root).bundle(name))
    site = Layout(root).environment(name) / "lib" / "python3.11" / "site-packages" / "click-8.dist-info"
    site.mkdir(parents=True)
    (site / "WHEEL").write_text("Tag: cp311-cp311-manylinux_2_17_s390x\n")
    public = signing_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    release = {"name": "loans", "sequence": 1, "bundle": {"keys": [public]}}
    Layout(root).release(name).write_text(json.dumps(release))
    seal_slot(root, name)
    complete_slot(root, name)
    activate_slot(root, name)
    monkeypatch.setenv("EDGEKIT_STATE_DIR", str(Layout(root).state))  # where no key is trusted: the release names it
    found = diagnose(root=root, port=port)
    assert len(found.golden) == 2
    assert states(found) == {"python": "attention", "wheels": "stop"} | (
        {"processes": "attention"} if "processes" in states(found) else {}  # a server of this machine's own
    )
    assert "click-8 is built for cp311-cp311-manylinux_2_17_s390x" in found.checks[2].finding
    Layout(root).profile.write_bytes(profile_path("cpu-paddle").read_bytes())
    assert {run.backend for run in diagnose(root=root, port=port).golden} == {"paddle"}


def run(model: str, backend: Any, *, passed: bool) -> GoldenRun:
    return GoldenRun(model, backend, passed, 1.0, 0.0, 0.1, 0.0, 0.0, "" if passed else "It drifts.")


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ((True, True), ["ok", "ok"]),
        ((True, False), ["ok", "ok"]),  # a backend behind the one that serves is never asked
        ((False, True), ["attention", "ok"]),
        ((False, False), ["stop", "stop"]),
    ],
)
def test_what_a_backend_s_failure_means_depends_on_the_others(passed: tuple[bool, bool], expected: list[str]) -> None:
    runs = [run("m", backend, passed=each) for backend, each in zip(("openvino", "onnxruntime"), passed, strict=True)]
    other = run("other", "openvino", passed=True)
    checks = golden_checks([*runs, other])
    assert [check.state for check in checks] == [*expected, "ok"]
    assert all(check.remedy for check in checks if check.state != "ok")


def test_a_bundle_without_golden_outputs_needs_attention() -> None:
    (check,) = golden_checks([])
    assert check.state == "attention"


def test_the_command_ends_with_whether_the_device_can_serve(
    bundle: Callable[..., Path], port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle()
    assert main(["device", "doctor", "--bundle", str(path), "--port", str(port)]) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[-1].startswith("This device can serve.")
    assert lines[0].startswith("ok        DOCTOR-001  machine: ")
    assert all(line[:9].strip() in ("ok", "attention", "stop", "") for line in lines[:-1])
    (path / "policy.toml").write_bytes(b"")
    assert main(["device", "doctor", "--bundle", str(path), "--port", str(port), "--json"]) == 7
    document = json.loads(capsys.readouterr().out)
    assert document["can_serve"] is False
    assert {"code", "name", "state", "finding", "remedy"} == set(document["checks"][0])
    assert "policy.toml was changed" in json.dumps(document)


def test_match_takes_a_bank_s_own_profiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = profile_path("cpu-generic").read_text(encoding="utf-8")
    (tmp_path / "counter-pc.toml").write_text(text.replace("cpu-generic", "counter-pc"), encoding="utf-8")
    assert main(["device", "match", "--profiles", str(tmp_path), "--json"]) == 0
    ranked = {each["profile"]: each for each in json.loads(capsys.readouterr().out)["ranked"]}
    assert ranked["counter-pc"]["file"] == str(tmp_path / "counter-pc.toml")
    assert ranked["counter-pc"]["fits"]
    (tmp_path / "counter-pc.toml").write_text(text.replace("threads", "thread"), encoding="utf-8")
    assert main(["device", "match", "--profiles", str(tmp_path), "--json"]) == 7
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "DEVICE-002"
    assert "did you mean 'threads'?" in error["problem"]
