"""The one door to Paddle for compression.

``FLAGS_enable_pir_api=0`` must be set before paddle is imported: with the new IR, ``jit.save`` writes
``inference.json``, which neither PaddleSlim nor paddle2onnx reads (docs/adr/0002).
"""

from __future__ import annotations

import os
from pathlib import Path


def mkl_cpu_type(cpuinfo: str) -> str | None:
    """Which code path the MKL inside Paddle should take on an AMD processor; None elsewhere.

    Left to itself this MKL takes its slowest path on processors that are not Intel's, though they have the same
    instructions: training is then three to four times slower (measured on an EPYC with AVX-512).
    """
    if "AuthenticAMD" not in cpuinfo:
        return None
    return "7" if " avx512f" in cpuinfo else "5" if " avx2" in cpuinfo else None


def _prepare() -> None:
    os.environ.setdefault("FLAGS_enable_pir_api", "0")
    os.environ.setdefault("GLOG_minloglevel", "2")  # errors only: Paddle announces its executors on stderr
    cpuinfo = Path("/proc/cpuinfo")
    wanted = mkl_cpu_type(cpuinfo.read_text()) if cpuinfo.is_file() else None
    if wanted:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", wanted)


_prepare()

import paddle  # noqa: E402 - only after the flags

__all__ = ["mkl_cpu_type", "paddle"]
