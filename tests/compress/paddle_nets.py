"""Tiny Paddle networks with random weights, saved as a training run would save them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from compress.paddle_env import paddle

Cases = dict[str, np.ndarray]
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


_OCR = """
import sys
import numpy as np
import paddle

class Det(paddle.nn.Layer):  # dark pixels are text
    def __init__(self):
        super().__init__()
        self.dark = paddle.nn.Conv2D(3, 1, 1)
        self.dark.weight.set_value(np.full((1, 3, 1, 1), -8.0, np.float32))

    def forward(self, x):
        return paddle.nn.functional.sigmoid(self.dark(x))

class Rec(paddle.nn.Layer):  # dark columns read as A
    def __init__(self):
        super().__init__()
        self.classes = paddle.nn.Linear(3, 3)
        self.classes.weight.set_value(np.tile(np.array([8.0, -8.0, 0.0], np.float32), (3, 1)))

    def forward(self, x):
        columns = paddle.nn.functional.avg_pool2d(x, [48, 8], [48, 8]).squeeze(2).transpose([0, 2, 1])
        return paddle.nn.functional.softmax(self.classes(columns), axis=-1)

class Cls(paddle.nn.Layer):  # a line's left half is the lighter one
    def __init__(self):
        super().__init__()
        self.sides = paddle.nn.Linear(3 * 48 * 192, 2)
        left = np.tile(np.repeat(np.array([0.01, -0.01], np.float32), 96), 3 * 48)
        self.sides.weight.set_value(np.stack([left, -left], axis=1))

    def forward(self, x):
        return paddle.nn.functional.softmax(self.sides(x.flatten(1)), axis=-1)

for name, network, shape in (
    ("det", Det(), [None, 3, None, None]), ("rec", Rec(), [None, 3, 48, None]), ("cls", Cls(), [None, 3, 48, 192])
):
    network.eval()
    spec = [paddle.static.InputSpec(shape, "float32", "x")]
    paddle.jit.save(network, f"{sys.argv[1]}/{name}/inference", spec)
"""


def save_ocr(directory: Path, *, pir: bool) -> Path:
    """A model set that reads black bars as A, as ``inference.json`` or as ``inference.pdmodel``."""
    directory.mkdir()
    environment = {**os.environ, "FLAGS_enable_pir_api": "1" if pir else "0"}
    script = directory / "networks.py"  # Paddle reads the source of what it saves
    script.write_text(_OCR)
    subprocess.run([sys.executable, str(script), str(directory)], env=environment, check=True, capture_output=True)
    (directory / "rec" / "dict.txt").write_text("A\nB\n")
    (directory / "ocr.toml").write_text("det_min_side = 64\nunclip_ratio = 0.01\n")
    return directory


def save_pir(directory: Path) -> None:
    """``inference.json`` of a network from (N, 3, 8, 8) to (N, 5); in a process of its own, whose flag differs."""
    directory.mkdir(exist_ok=True)
    environment = {**os.environ, "FLAGS_enable_pir_api": "1"}
    subprocess.run([sys.executable, "-c", _PIR, str(directory)], env=environment, check=True, capture_output=True)


def save(network: paddle.nn.Layer, directory: Path, **inputs: tuple[list[int | None], str]) -> Path:
    """``inference.pdmodel`` and its weights; ``inputs`` are shapes and types in the order of ``forward``."""
    network.eval()
    spec = [paddle.static.InputSpec(shape, dtype, name) for name, (shape, dtype) in inputs.items()]
    paddle.jit.save(network, str(directory / "inference"), spec)
    return directory


class History(paddle.nn.Layer):
    """An LSTM with a mask, as the behaviour model is: (N, T, 5) and (N, T) to two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = paddle.nn.LSTM(5, 16)
        self.head = paddle.nn.Linear(16, 2)

    def forward(self, features, mask):
        states, _ = self.lstm(features)
        return self.head((states * mask.unsqueeze(-1)).sum(axis=1) / mask.sum(axis=1, keepdim=True))


class Graph(paddle.nn.Layer):
    """One layer of GraphSAGE with mean aggregation (arXiv:1706.02216): nodes (N, 8), edges (2, E) to (N, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.own = paddle.nn.Linear(8, 32)
        self.neighbours = paddle.nn.Linear(8, 32)
        self.head = paddle.nn.Linear(32, 3)

    def forward(self, nodes, edges):
        source, target = edges[0], edges[1].unsqueeze(-1)
        total = paddle.scatter_nd_add(paddle.zeros_like(nodes), target, paddle.gather(nodes, source))
        one = paddle.ones_like(nodes[:, :1])
        count = paddle.scatter_nd_add(paddle.zeros_like(one), target, paddle.gather(one, source))
        mean = total / paddle.clip(count, min=1.0)
        return self.head(paddle.nn.functional.relu(self.own(nodes) + self.neighbours(mean)))


class WideAndDeep(paddle.nn.Layer):
    """Ids (N, 3) and amounts (N, 4) to a probability (N, 1) and a hidden vector (N, 16) (arXiv:1606.07792)."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = paddle.nn.Embedding(50, 1)
        self.deep = paddle.nn.Embedding(50, 8)
        self.hidden = paddle.nn.Sequential(paddle.nn.Linear(28, 16), paddle.nn.ReLU())
        self.out = paddle.nn.Linear(16, 1)

    def forward(self, ids, amounts):
        hidden = self.hidden(paddle.concat([self.deep(ids).flatten(1), amounts], axis=1))
        return paddle.nn.functional.sigmoid(self.out(hidden) + self.wide(ids).sum(axis=1)), hidden
