"""What a GPU would be told. No GPU is needed, and what one does with it is not tested here (docs/gpu.md)."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

import runtime.backends.nvidia as nvidia
from devices.errors import BackendError
from devices.probe import Gpu
from runtime.backends.kept import kept_dir
from runtime.backends.nvidia import engine_key, gpu_versions, memory_share_mb, provider_options
from runtime.predictor import ModelFiles, RunOptions, ShapeRange

FILES = ModelFiles("text-risk", "onnx", b"graph")
SHAPES = {
    "input_ids": ShapeRange((1, 8), (1, 128), (16, 256)),
    "token_type_ids": ShapeRange((1, 8), (1, 128), (16, 256)),
}
OPTIONS = RunOptions(gpu_memory_limit_mb=3000, gpu_models=5, shapes=SHAPES)
VERSIONS = {"gpu": "NVIDIA T600", "driver": "580.95.05", "tensorrt": "101300", "library": "onnxruntime 1.32.0"}


def test_cuda_gets_its_share_of_the_memory_and_computes_fp32_in_fp32() -> None:
    (name, cuda), (last, _) = provider_options("onnxruntime:cuda", FILES, OPTIONS, None)
    assert (name, last) == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert cuda["gpu_mem_limit"] == str(600 * 1024 * 1024)
    assert cuda["arena_extend_strategy"] == "kSameAsRequested"
    assert cuda["use_tf32"] == "0"
    (_, unlimited), _ = provider_options("onnxruntime:cuda", FILES, RunOptions(), None)
    assert "gpu_mem_limit" not in unlimited
    assert memory_share_mb(RunOptions()) is None


def test_tensorrt_gets_the_shapes_its_cache_and_cuda_behind_it(tmp_path: Path) -> None:
    providers = provider_options("onnxruntime:tensorrt", FILES, OPTIONS, tmp_path)
    assert [name for name, _ in providers] == [
        "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider",
    ]  # fmt: skip
    trt = providers[0][1]
    assert trt["trt_profile_min_shapes"] == "input_ids:1x8,token_type_ids:1x8"
    assert trt["trt_profile_opt_shapes"] == "input_ids:1x128,token_type_ids:1x128"
    assert trt["trt_profile_max_shapes"] == "input_ids:16x256,token_type_ids:16x256"
    assert (trt["trt_engine_cache_enable"], trt["trt_engine_cache_path"]) == ("1", str(tmp_path))
    assert trt["trt_max_workspace_size"] == str(600 * 1024 * 1024)
    assert (trt["trt_fp16_enable"], trt["trt_int8_enable"]) == ("0", "0")
    halved = provider_options("onnxruntime:tensorrt", FILES, replace(OPTIONS, fp16=True), None)[0][1]
    assert halved["trt_fp16_enable"] == "1"
    assert "trt_engine_cache_path" not in halved
    int8 = provider_options("onnxruntime:tensorrt", replace(FILES, precision="int8"), OPTIONS, None)[0][1]
    assert int8["trt_int8_enable"] == "1"
    assert not any("shapes" in key for key in provider_options("onnxruntime:tensorrt", FILES, RunOptions(), None)[0][1])


def test_tensorrt_for_rtx_gets_the_same_in_its_own_words(tmp_path: Path) -> None:
    (name, rtx), (last, _) = provider_options("onnxruntime:tensorrt-rtx", FILES, OPTIONS, tmp_path)
    assert (name, last) == ("NvTensorRTRTXExecutionProvider", "CPUExecutionProvider")
    assert rtx == {
        "nv_max_workspace_size": str(600 * 1024 * 1024),
        "nv_profile_min_shapes": "input_ids:1x8,token_type_ids:1x8",
        "nv_profile_opt_shapes": "input_ids:1x128,token_type_ids:1x128",
        "nv_profile_max_shapes": "input_ids:16x256,token_type_ids:16x256",
        "nv_runtime_cache_path": str(tmp_path),
    }


def key(**changed: object) -> dict[str, str]:
    files = replace(FILES, graph=changed.pop("graph", FILES.graph))
    backend = changed.pop("backend", "onnxruntime:tensorrt")
    versions = VERSIONS | {name: changed.pop(name) for name in VERSIONS if name in changed}
    return engine_key(backend, files, replace(OPTIONS, **changed), versions)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu": "NVIDIA T1000"},
        {"driver": "590.48.01"},
        {"tensorrt": "101400"},
        {"library": "onnxruntime 1.33.0"},
        {"graph": b"another"},
        {"backend": "paddle:tensorrt"},
        {"fp16": True},
        {"shapes": {**SHAPES, "input_ids": ShapeRange((1, 8), (1, 128), (8, 256))}},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_an_engine_is_kept_for_exactly_what_it_depends_on(tmp_path: Path, changed: dict) -> None:
    kept = kept_dir(tmp_path, FILES, key())
    assert kept_dir(tmp_path, FILES, key()) == kept
    assert kept_dir(tmp_path, FILES, key(threads=4, parallel=3)) == kept  # nothing to an engine
    assert kept_dir(tmp_path, FILES, key(**changed)) != kept


def test_only_the_two_latest_engines_of_a_model_are_kept(tmp_path: Path) -> None:
    other = kept_dir(tmp_path, replace(FILES, name="ocr-det"), key())
    paths = []
    for number, driver in enumerate(("1", "2", "3")):
        paths.append(kept_dir(tmp_path, FILES, key(driver=driver)))
        (paths[-1] / "engine.plan").write_bytes(b"engine")
        os.utime(paths[-1] / "key.json", ns=(number, number))
    assert [path.exists() for path in paths] == [False, True, True]
    kept_dir(tmp_path, FILES, key(driver="2"))
    kept_dir(tmp_path, FILES, key(driver="4"))  # the second was used after the third
    assert [path.exists() for path in (*paths, other)] == [False, True, False, True]


def test_an_engine_cache_that_cannot_be_written_is_an_error_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match=r"cache .*file.* cannot be written: Not a directory"):
        kept_dir(tmp_path / "file", FILES, key())


def test_the_versions_are_the_machine_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "nvidia_gpu", lambda: Gpu("NVIDIA T600", 3911, "nvidia", "580.95.05"))
    found = gpu_versions("onnxruntime 1.32.0")
    assert (found["gpu"], found["driver"], found["library"]) == ("NVIDIA T600", "580.95.05", "onnxruntime 1.32.0")
    monkeypatch.setattr(nvidia, "nvidia_gpu", lambda: None)
    assert gpu_versions("x")["gpu"] == "none"
