"""How fast ERNIE becomes: FP32 as Paddle serves it, INT8 as the kit ships it, INT8 as NNCF makes it.

Weights are random. Every model answers the same texts first; only then is time taken, in turns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Figure, Goal, Report, Row, Times, ratio, take_turns
from benchmarks.limit import SIDE, encoder_operations, peak
from benchmarks.networks import SHAPES, feeds, network, random_weights
from benchmarks.peers import nncf_quantize
from compress.ernie.export import export_paddle
from compress.ernie.model import build_model
from compress.export import to_onnx
from compress.quantize import quantize
from devices.errors import EdgeKitError
from runtime.predictor import Backend, Predictor, RunOptions, load_predictor, model_files

THREADS = 2
TOKENS = 128
CALIBRATION_TEXTS, CALIBRATION_BATCH = 64, 4
CHECKED_TEXTS = 32
# of what tells texts apart: a random network's logits lie close together, so that INT8's noise weighs more on them
# than on a trained one's; a broken graph is off by 1 or more
MOST_ERROR = 0.25
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Variant:
    """One way to serve a network: where its model lies, and what loads it."""

    directory: Path
    backend: Backend

    def load(self) -> Predictor:
        """With two threads, as a branch box has."""
        return load_predictor(
            model_files(self.directory, self.directory.name), self.backend, RunOptions(threads=THREADS)
        )


def make_variants(shape: str, scratch: Path, progress: Progress) -> tuple[dict[str, Variant], str]:
    """FP32 for Paddle and OpenVINO, INT8 as shipped, INT8 by NNCF; and why there is none by NNCF, if so."""
    base = scratch / shape
    config = network(shape)
    progress(f"export {shape}", 0.0)
    export_paddle(build_model(config, random_weights(config)), base / "paddle")
    to_onnx(base / "paddle", base / "fp32" / "model.onnx")
    texts = feeds(CALIBRATION_TEXTS, TOKENS // 2, batch=CALIBRATION_BATCH, seed=1)
    progress(f"quantize {shape}", 0.3)
    quantize(base / "paddle", texts, base / "int8", backend="openvino")
    variants = {
        "Paddle FP32": Variant(base / "paddle", "paddle"),
        "OpenVINO FP32": Variant(base / "fp32", "openvino"),
        "INT8 as shipped": Variant(base / "int8", "openvino"),
    }
    progress(f"NNCF on {shape}", 0.6)
    try:
        nncf_quantize(base / "fp32" / "model.onnx", texts, base / "nncf", transformer=True)
    except EdgeKitError as error:
        return variants, error.problem
    return variants | {"INT8 by NNCF": Variant(base / "nncf", "openvino")}, ""


def errors(predictors: Mapping[str, Predictor], reference: str) -> dict[str, float]:
    """How far each predictor's logits are from the reference's, by how far the reference's texts are from each other.

    0 is equal; 1 says that the answer has nothing to do with the text.
    """
    texts = feeds(CHECKED_TEXTS, TOKENS, seed=2)
    logits = {name: _logits(predictor, texts) for name, predictor in predictors.items()}
    wanted = logits[reference]
    spread = np.sqrt(np.square(wanted - wanted.mean(axis=0)).mean())
    return {name: float(np.sqrt(np.square(each - wanted).mean()) / spread) for name, each in logits.items()}


def measure_shape(shape: str, report: Report, scratch: Path, progress: Progress) -> dict[str, Times]:
    """Rows of one network: INT8 against FP32 for the big one, and against NNCF's INT8 for both."""
    variants, no_nncf = make_variants(shape, scratch, progress)
    predictors = {name: variant.load() for name, variant in variants.items()}
    progress(f"compare {shape}", 0.8)
    wrong = errors(predictors, "Paddle FP32")
    report.details[f"{shape} error"] = wrong
    if bad := [name for name in ("OpenVINO FP32", "INT8 as shipped") if wrong[name] > MOST_ERROR]:
        raise EdgeKitError(
            f"{bad[0]} of {shape} is off by {wrong[bad[0]]:.2f} of what tells texts apart; at most {MOST_ERROR} is "
            "allowed before time is taken.",
            remedy="Look for an operator that the exporter or the quantizer handles wrongly.",
        )
    feed = feeds(1, TOKENS, seed=3)[0]
    times = take_turns({name: _call(each, feed) for name, each in predictors.items()}, progress=progress)
    report.details[f"{shape} ms"] = {name: list(np.round(each, 2)) for name, each in times.items()}
    medians = ", ".join(f"{name} {np.median(each):.1f} ms" for name, each in times.items())
    agreed = ", ".join(f"{name} {wrong[name]:.3f}" for name in wrong if name != "Paddle FP32")
    if shape == "12L768H":
        report.add(
            Row(
                "ERNIE 12L768H, 1x128: Paddle oneDNN FP32 against INT8 as shipped, on OpenVINO",
                ratio(times["Paddle FP32"], times["INT8 as shipped"]),
                "times faster",
                Goal(3.5),
                f"{medians}. Difference of the logits from Paddle's, by what tells texts apart: {agreed}.",
            )
        )
    what = f"ERNIE {shape}, 1x128: NNCF's default PTQ against INT8 as shipped, both on OpenVINO"
    if no_nncf:
        report.add(Row(what, None, note=no_nncf))
    else:
        off = f"NNCF's logits are off by {wrong['INT8 by NNCF']:.3f}, ours by {wrong['INT8 as shipped']:.3f}"
        note = f"{medians}. {off}."
        figure = ratio(times["INT8 by NNCF"], times["INT8 as shipped"])
        report.add(Row(what, figure, "times faster", Goal(1.0, within_noise=True), note))
    return times


def measure_speed(report: Report, scratch: Path, progress: Progress) -> None:
    """All rows about time with random weights."""
    progress("the processor's limit", 0.0)
    limits = peak(THREADS)
    report.details["limit, billion operations a second"] = {name: list(np.round(each)) for name, each in limits.items()}
    for name, each in limits.items():
        report.add(
            Row(f"Limit: matrix products of {SIDE} in a row, {name}, {THREADS} threads", Figure.of(each), "GOP/s")
        )
    for shape in SHAPES:
        times = measure_shape(shape, report, scratch, progress)
        work = encoder_operations(*SHAPES[shape], TOKENS) / 1e6
        for variant, precision in (("OpenVINO FP32", "FP32"), ("INT8 as shipped", "INT8")):
            reached = Figure.of(100 * work / times[variant] / np.median(limits[precision]))
            report.add(Row(f"ERNIE {shape}, {variant}: of that limit it reaches", reached, "%"))


def _call(predictor: Predictor, feed: Mapping[str, NDArray[np.generic]]) -> Callable[[], object]:
    return lambda: predictor.run(feed)


def _logits(predictor: Predictor, texts: Sequence[Mapping[str, NDArray[np.generic]]]) -> NDArray[np.float64]:
    name = predictor.outputs[0].name
    return np.concatenate([predictor.run(text)[name].astype(np.float64) for text in texts])
