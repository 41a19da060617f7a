"""A compression that is killed goes on where it stopped, with the same command, to the same bytes."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from compress.ernie.checkpoint import Checkpoint, ErnieConfig, write_checkpoint
from compress.ernie.model import ErnieClassifier, build_model, model_weights
from compress.paddle_env import paddle
from devices.profile import profile_path
from runtime.tokenizer import SPECIAL_TOKENS

EDGEKIT = Path(sys.executable).with_name("edgekit")
CHARACTERS = "贷款还旧借新卡网天地人你我他上下左右"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny teacher of random weights, invented texts, and a profile that lets everything pass."""
    directory = tmp_path_factory.mktemp("resume")
    config = ErnieConfig(
        vocab_size=len(SPECIAL_TOKENS) + len(CHARACTERS),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.4,
        id2label={0: "a", 1: "b"},
    )
    paddle.seed(1)
    model = build_model(config)
    draw = random.Random(0)
    texts = ["".join(draw.choices(CHARACTERS, k=draw.randint(4, 30))) for _ in range(3000)]
    # labelled by the teacher itself, half of each: random networks lean to one side
    index = {character: len(SPECIAL_TOKENS) + at for at, character in enumerate(CHARACTERS)}
    logits = [_logits(model, [1, *(index[each] for each in text), 2]) for text in texts[:300]]
    lean = statistics.median(second - first for first, second in logits)
    weights = model_weights(model)
    weights["classifier.bias"] = weights["classifier.bias"] - np.array([0, lean], np.float32)
    vocab = "\n".join([*SPECIAL_TOKENS, *CHARACTERS]) + "\n"
    write_checkpoint(directory / "teacher", Checkpoint(config, weights, vocab.encode(), True))
    labels = ["b" if second - first > lean else "a" for first, second in logits]
    lines = [f"{label}\t{text}\n" for label, text in zip(labels, texts, strict=False)]
    (directory / "train.tsv").write_text("".join(lines[:200]), encoding="utf-8")
    (directory / "dev.tsv").write_text("".join(lines[200:300]), encoding="utf-8")
    (directory / "pool.txt").write_text("\n".join(texts[300:]) + "\n", encoding="utf-8")
    profile = profile_path("cpu-generic").read_text(encoding="utf-8")
    changed = ['name = "loose"' if line.startswith("name") else line for line in profile.splitlines()]
    changed = ["max_drop = 0.99" if line.startswith("max_drop") else line for line in changed]
    changed = ['student = "1x24x4"' if line.startswith("student") else line for line in changed]
    changed = ["int8 = false" if line.startswith("int8") else line for line in changed]
    (directory / "loose.toml").write_text("\n".join(changed) + "\n", encoding="utf-8")
    return directory


def _logits(model: ErnieClassifier, ids: list[int]) -> tuple[float, float]:
    row = paddle.to_tensor([ids])
    with paddle.no_grad():
        first, second = model(row, paddle.zeros_like(row)).numpy()[0].tolist()
    return first, second


def start(directory: Path, out: str) -> subprocess.Popen[str]:
    arguments = ["--teacher", "teacher", "--train", "train.tsv", "--dev", "dev.tsv", "--pool", "pool.txt"]
    arguments += ["--profile", "loose.toml", "--recipe", "distil", "--out", out, "--json"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        return subprocess.Popen(
            [str(EDGEKIT), "compress", "ernie", *arguments],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    finally:
        signal.signal(signal.SIGINT, before)


def until_training(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("compress ernie: student"):
            return
    raise AssertionError("the student's training never began")


def said(process: subprocess.Popen[str]) -> str:
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return errors


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_killed_and_interrupted_it_goes_on_to_the_same_bytes(directory: Path) -> None:
    with start(directory, "straight") as straight:
        said(straight)

    with start(directory, "stopped") as killed:
        until_training(killed)
        workers = children(killed)
        assert workers
        killed.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "training goes on without anybody to take its result"
    assert not (directory / "stopped").exists()

    with start(directory, "stopped") as interrupted:
        until_training(interrupted)
        time.sleep(0.2)
        interrupted.send_signal(signal.SIGINT)
        _, errors = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 128 + signal.SIGINT
    assert "stopped.stages; the same command goes on from there" in errors
    assert "compress ernie: vocabulary" not in errors  # kept from the run that was killed

    with start(directory, "stopped") as resumed:
        errors = said(resumed)
    assert "compress ernie: vocabulary" not in errors
    names = ("model.onnx", "vocab.txt", "golden.npz")
    assert [(directory / "stopped" / name).read_bytes() for name in names] == [
        (directory / "straight" / name).read_bytes() for name in names
    ]
