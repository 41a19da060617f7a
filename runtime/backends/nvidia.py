"""How NVIDIA's GPUs are asked for: ONNX Runtime's provider options, and what TensorRT's engines depend on.

Pure: no library is imported here, so tests see on any machine what a GPU would be told. What has really run on which
board is in docs/gpu.md.
Sources: ONNX Runtime, pages "CUDA Execution Provider" and "TensorRT Execution Provider"; NVIDIA, "TensorRT RTX
Execution Provider: provider options".
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from devices.probe import nvidia_gpu
from devices.profile import Backend
from runtime.predictor import ModelFiles, RunOptions, ShapeRange

PROVIDERS: dict[Backend, str] = {
    "onnxruntime:cuda": "CUDAExecutionProvider",
    "onnxruntime:tensorrt": "TensorrtExecutionProvider",
    "onnxruntime:tensorrt-rtx": "NvTensorRTRTXExecutionProvider",
}
_MB = 1024 * 1024
_WORKSPACE_MB = 1024  # scratch memory while an engine is built, where the profile sets no lower limit


def memory_share_mb(options: RunOptions) -> int | None:
    """What one model may take of the GPU's memory: an equal share; None is no limit."""
    limit = options.gpu_memory_limit_mb
    return None if limit is None else limit // options.gpu_models


def workspace_mb(options: RunOptions) -> int:
    """Scratch memory for building an engine."""
    return min(_WORKSPACE_MB, memory_share_mb(options) or _WORKSPACE_MB)


def provider_options(
    backend: Backend, files: ModelFiles, options: RunOptions, engines: Path | None
) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's providers for ``backend``, the wanted one first, each with its options.

    Operators that TensorRT does not take go to CUDA, and shape arithmetic to the CPU, as ONNX Runtime decides.

    Args:
        backend: One of ``PROVIDERS``.
        files: The model; INT8 ones allow TensorRT its INT8 kernels.
        options: Limits, FP16, shapes.
        engines: Where engines are kept; None keeps none.
    """
    cuda = {
        "arena_extend_strategy": "kSameAsRequested",  # the default doubles, which a board of 4 GB has no room for
        "cudnn_conv_algo_search": "HEURISTIC",  # the default tries every algorithm again for every new shape
        "use_tf32": "0",  # as on the CPU, FP32 is FP32 unless the profile says fp16
    }
    if (share := memory_share_mb(options)) is not None:
        cuda["gpu_mem_limit"] = str(share * _MB)
    chain = [("CUDAExecutionProvider", cuda), ("CPUExecutionProvider", {})]
    if backend == "onnxruntime:cuda":
        return chain
    if backend == "onnxruntime:tensorrt-rtx":
        rtx = {"nv_max_workspace_size": str(workspace_mb(options) * _MB), **_profile("nv_profile", options.shapes)}
        if engines is not None:
            rtx["nv_runtime_cache_path"] = str(engines)
        return [(PROVIDERS[backend], rtx), ("CPUExecutionProvider", {})]
    trt = {
        "trt_max_workspace_size": str(workspace_mb(options) * _MB),
        "trt_fp16_enable": "1" if options.fp16 else "0",
        "trt_int8_enable": "1" if files.precision == "int8" else "0",
        "trt_layer_norm_fp32_fallback": "1",
        **_profile("trt_profile", options.shapes),
    }
    if engines is not None:
        trt |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(engines),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(engines),
        }
    return [(PROVIDERS[backend], trt), *chain]


def _profile(prefix: str, shapes: Mapping[str, ShapeRange]) -> dict[str, str]:
    if not shapes:
        return {}

    def told(side: Callable[[ShapeRange], tuple[int, ...]]) -> str:
        return ",".join(f"{name}:{'x'.join(map(str, side(each)))}" for name, each in sorted(shapes.items()))

    return {
        f"{prefix}_min_shapes": told(lambda each: each.least),
        f"{prefix}_opt_shapes": told(lambda each: each.usual),
        f"{prefix}_max_shapes": told(lambda each: each.most),
    }


def engine_key(backend: Backend, files: ModelFiles, options: RunOptions, versions: Mapping[str, str]) -> dict[str, str]:
    """All that an engine depends on: with anything of it changed, another engine has to be built."""
    shapes = {name: (each.least, each.usual, each.most) for name, each in sorted(options.shapes.items())}
    return {
        **versions,
        "backend": backend,
        "model": files.sha256,
        "fp16": str(options.fp16),
        "workspace_mb": str(workspace_mb(options)),
        "shapes": json.dumps(shapes),
    }


def gpu_versions(library: str) -> dict[str, str]:
    """What of this machine an engine depends on: the GPU, its driver, TensorRT and the ``library`` that calls it."""
    gpu = nvidia_gpu()
    return {
        "gpu": gpu.name if gpu else "none",
        "driver": gpu.driver if gpu else "none",
        "tensorrt": _tensorrt_version(),
        "library": library,
    }


def _tensorrt_version() -> str:
    for name in ("libnvinfer.so.10", "libnvinfer.so.8"):
        try:
            return str(ctypes.CDLL(name).getInferLibVersion())
        except OSError:
            continue  # not installed, or another version is
    return "none"
