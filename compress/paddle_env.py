"""The one door to Paddle for compression.

``FLAGS_enable_pir_api=0`` must be set before paddle is imported: with the new IR, ``jit.save`` writes
``inference.json``, which neither PaddleSlim nor paddle2onnx reads (docs/adr/0002).
"""

from __future__ import annotations

import os

os.environ.setdefault("FLAGS_enable_pir_api", "0")
os.environ.setdefault("GLOG_minloglevel", "2")  # errors only: Paddle announces its executors on stderr

import paddle  # noqa: E402 - only after the flag

__all__ = ["paddle"]
