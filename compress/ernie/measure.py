"""Variants of a network on the backend that will serve: exported, quantized, run over dev and timed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compress.ernie.checkpoint import read_checkpoint, read_tokenizer
from compress.ernie.export import MODEL_NAME, export_paddle
from compress.ernie.model import build_model
from compress.ernie.qat import thresholds
from compress.ernie.task import Logits, Task, calibration_feeds
from compress.evaluate import interleaved_medians_ms
from compress.export import to_onnx
from compress.fallback import quantize_with_fallback
from compress.paddle_env import paddle
from compress.quantize import quantize
from compress.stages import Stages
from compress.tally import Tally
from devices.profile import Profile
from runtime.predictor import Backend, Predictor, RunOptions, load_predictor, model_files
from runtime.tokenizer import ErnieTokenizer

Precision = Literal["fp32", "int8"]
Progress = Callable[[str, float], None]
LIMITS_NAME = "limits.json"  # of each layer's input and output, learned in quantization-aware training
_MODEL, _KEPT_NAME = "model", "fp32-layers.json"
_LENGTHS = (64, 128)  # tokens, that time is taken with


@dataclass(frozen=True)
class Candidate:
    """One variant of one network, measured on the backend that will serve.

    It is loaded only while it runs: all variants of a 12-layer ERNIE at once are 2 GB, beside which the next is made.

    Attributes:
        network: As in the report: ``teacher``, ``student``, ``narrow student``.
        precision: Of its matrix products.
        how: How INT8 came about where that was not plain calibration: ``mixed`` or ``qat``.
        checkpoint: Directory of the network that it was made from.
        directory: The model's files.
        backend: That will serve.
        options: How it is loaded.
        tokenizer: The network's own; a pruned vocabulary numbers its words anew.
        logits: For dev.
        tally: What each text of dev adds to the task's metric.
        by_label: F1 of each label or type of entity.
        fp32_layers: Operators that stayed FP32 in an INT8 network, because they cost most accuracy.
    """

    network: str
    precision: Precision
    how: str
    checkpoint: Path
    directory: Path
    backend: Backend
    options: RunOptions
    tokenizer: ErnieTokenizer
    logits: Logits
    tally: Tally
    by_label: dict[str, float]
    fp32_layers: tuple[str, ...] = ()

    @property
    def variant(self) -> str:
        """As in the report: ``student int8``, ``student int8 mixed``."""
        return " ".join(filter(None, (self.network, self.precision, self.how)))

    def load(self) -> Predictor:
        """Ready to run."""
        return load_predictor(
            model_files(self.directory, MODEL_NAME, precision=self.precision), self.backend, self.options
        )

    @property
    def value(self) -> float:
        """The task's metric on dev."""
        return self.tally.value

    @property
    def size_bytes(self) -> int:
        """Of the model's files."""
        return sum(file.stat().st_size for file in self.directory.iterdir())


class Bench:
    """Makes variants through the stages, so that none is made twice, and measures them.

    Args:
        task: Data and metric.
        profile: Whose first backend serves.
        stages: Where the models are kept.
        data: What tells the calibration texts apart: fingerprints of the task's files.
    """

    def __init__(self, task: Task, profile: Profile, stages: Stages, data: Mapping[str, str]) -> None:
        self._task, self._profile, self._stages, self._data = task, profile, stages, data
        self._backend = profile.serve.measured_on
        self._options = RunOptions(threads=profile.serve.threads, parallel=profile.serve.parallel)

    def plain(self, network: str, checkpoint: Path, origin: str) -> Candidate:
        """The network in FP32. ``origin`` tells the checkpoint apart: its stage's name or fingerprint."""
        directory = self._exported(checkpoint, origin)
        if self._backend != "paddle":
            source = directory

            def convert(result: Path, _: Path) -> None:
                to_onnx(source, result / "model.onnx")

            directory = self._stages.run("onnx", {"checkpoint": origin}, convert)
        return self._candidate(network, "fp32", "", checkpoint, directory)

    def int8(self, network: str, checkpoint: Path, origin: str) -> Candidate:
        """The network in INT8 by calibration alone."""
        return self._quantized(network, "", checkpoint, origin, None)

    def trained(self, network: str, checkpoint: Path, origin: str) -> Candidate:
        """The network in INT8 after quantization-aware training: ``checkpoint`` comes with ``limits.json``."""
        return self._quantized(network, "qat", checkpoint, origin, checkpoint / LIMITS_NAME)

    def mixed(
        self, network: str, checkpoint: Path, origin: str, accept: Callable[[Candidate], bool], progress: Progress
    ) -> Candidate | None:
        """The network in INT8 but for the layers that cost most accuracy; None if half of them are not enough."""
        source = self._exported(checkpoint, origin)

        def make(result: Path, _: Path) -> None:
            model = result / _MODEL
            found = quantize_with_fallback(
                *(source, self._feeds(checkpoint), model),
                backend=self._backend,
                reduce_range=self._profile.serve.reduce_range,
                accept=lambda directory: accept(self._candidate(network, "int8", "mixed", checkpoint, directory)),
                progress=progress,
            )
            (result / _KEPT_NAME).write_text(json.dumps(found.kept_fp32 if found.accepted else None))

        limits = {"max_drop": self._profile.compress.max_drop}
        stage = self._stages.run("mixed", self._inputs(origin) | limits, make)
        kept = json.loads((stage / _KEPT_NAME).read_text())
        if kept is None:
            return None
        candidate = self._candidate(network, "int8", "mixed", checkpoint, stage / _MODEL)
        return replace(candidate, fp32_layers=tuple(kept))

    def latencies(self, candidates: Sequence[Candidate]) -> dict[str, tuple[float, ...]]:
        """Median milliseconds of one text of 64 and of 128 tokens, all candidates taking turns."""
        predictors = {candidate.variant: candidate.load() for candidate in candidates}
        found = []
        for length in _LENGTHS:
            # words that every vocabulary has: what they are does not matter to the time
            row = np.resize(np.arange(5, dtype=np.int64), (1, min(length, self._task.settings.max_length))) + 1
            found.append(
                interleaved_medians_ms(
                    predictors, [{"input_ids": row, "token_type_ids": np.zeros_like(row)}], repeats=20
                )
            )
        return {name: tuple(each[name] for each in found) for name in predictors}

    def _quantized(self, network: str, how: str, checkpoint: Path, origin: str, limits_file: Path | None) -> Candidate:
        source = self._exported(checkpoint, origin)

        def make(result: Path, _: Path) -> None:
            learned = None
            if limits_file is not None:
                config = read_checkpoint(checkpoint).config
                learned = thresholds(source, config, json.loads(limits_file.read_text()))
            quantize(
                *(source, self._feeds(checkpoint), result),
                backend=self._backend,
                reduce_range=self._profile.serve.reduce_range,
                thresholds=learned,
            )

        directory = self._stages.run("int8", self._inputs(origin), make)
        return self._candidate(network, "int8", how, checkpoint, directory)

    def _exported(self, checkpoint: Path, origin: str) -> Path:
        def make(result: Path, _: Path) -> None:
            read = read_checkpoint(checkpoint)
            with paddle.utils.unique_name.guard():  # else names tell what else this process has built, bytes differ
                export_paddle(build_model(read.config, read.weights), result)

        return self._stages.run("paddle", {"checkpoint": origin}, make)

    def _feeds(self, checkpoint: Path) -> list[dict[str, NDArray[np.int64]]]:
        tokenizer = read_tokenizer(checkpoint)
        return calibration_feeds(self._task.rows(tokenizer), tokenizer.pad_id)

    def _inputs(self, origin: str) -> dict[str, Any]:
        serve = self._profile.serve
        return {"checkpoint": origin, "data": dict(self._data), "backend": self._backend} | {
            "reduce_range": serve.reduce_range
        }

    def _candidate(self, network: str, precision: Precision, how: str, checkpoint: Path, directory: Path) -> Candidate:
        files = model_files(directory, MODEL_NAME, precision=precision)
        predictor = load_predictor(files, self._backend, self._options)
        del files  # as large as the predictor
        tokenizer = read_tokenizer(checkpoint)
        logits = self._task.answers(predictor, tokenizer)
        tally, by_label = self._task.tally(logits, tokenizer), self._task.by_label(logits, tokenizer)
        return Candidate(
            network=network,
            precision=precision,
            how=how,
            checkpoint=checkpoint,
            directory=directory,
            backend=self._backend,
            options=self._options,
            tokenizer=tokenizer,
            logits=logits,
            tally=tally,
            by_label=by_label,
        )
