"""Tiny Paddle networks with random weights, saved as a training run would save them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_PIR = """
import sys
import paddle
paddle.seed(0)
network = paddle.nn.Sequential(
    paddle.nn.Conv2D(3, 4, 3), paddle.nn.BatchNorm2D(4), paddle.nn.Flatten(), paddle.nn.Linear(4 * 36, 5)
)
network.eval()
paddle.jit.save(network, sys.argv[1] + "/inference", [paddle.static.InputSpec([None, 3, 8, 8], "float32", "x")])
"""


def save_pir(directory: Path) -> None:
    """``inference.json`` of a network from (N, 3, 8, 8) to (N, 5); in a process of its own, whose flag differs."""
    directory.mkdir(exist_ok=True)
    environment = {**os.environ, "FLAGS_enable_pir_api": "1"}
    subprocess.run([sys.executable, "-c", _PIR, str(directory)], env=environment, check=True, capture_output=True)
