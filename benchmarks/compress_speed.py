"""How fast ERNIE becomes: FP32 as Paddle serves it, INT8 as the kit ships it, INT8 as other quantizers make it.

Weights are random. Every model answers the same texts first; only then is time taken, in turns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Goal, Progress, Report, Row, Times, ratio, take_turns
from benchmarks.networks import SHAPES, Feeds, feeds, network, random_weights
from benchmarks.peers import QUANTIZERS, Quantizer, quantize_by
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
SHIPPED = "INT8 as shipped"
# of what tells texts apart: a random network's logits lie close together, so that INT8's noise weighs more on them
# than on a trained one's; a broken graph is off by 1 or more
MOST_ERROR = 0.25
BROKEN = 0.5  # of a peer's


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


def make_variants(shape: str, scratch: Path, progress: Progress) -> tuple[dict[str, Variant], dict[str, str]]:
    """FP32 for Paddle and OpenVINO, INT8 as shipped and by the peers; and why there is none by a peer, if so."""
    base = scratch / shape
    texts = own_variants(shape, base, progress)
    variants = {
        "Paddle FP32": Variant(base / "paddle", "paddle"),
        "OpenVINO FP32": Variant(base / "fp32", "openvino"),
        SHIPPED: Variant(base / "int8", "openvino"),
    }
    missing = {}
    for number, peer in enumerate(QUANTIZERS):
        progress(f"{peer.shown} on {shape}", number / len(QUANTIZERS))
        try:
            made = quantize_by(peer, base / "fp32" / "model.onnx", texts, base / peer.script, transformer=True)
        except EdgeKitError as error:
            missing[peer.shown] = error.problem
        else:
            variants[f"INT8 by {peer.shown}"] = Variant(made, peer.backend)
    return variants, missing


def own_variants(shape: str, base: Path, progress: Progress) -> list[Feeds]:
    """Write ``paddle``, ``fp32`` and ``int8`` of one of ``SHAPES`` below ``base``; returns what calibrated it."""
    config = network(shape)
    progress(f"export {shape}", 0.0)
    export_paddle(build_model(config, random_weights(config)), base / "paddle")
    to_onnx(base / "paddle", base / "fp32" / "model.onnx")
    texts = feeds(CALIBRATION_TEXTS, TOKENS // 2, batch=CALIBRATION_BATCH, seed=1)
    progress(f"quantize {shape}", 0.3)
    quantize(base / "paddle", texts, base / "int8", backend="openvino")
    return texts


def errors(predictors: Mapping[str, Predictor], reference: str) -> dict[str, float]:
    """How far each predictor's logits are from the reference's, by how far the reference's texts are from each other.

    0 is equal; 1 says that the answer has nothing to do with the text.
    """
    texts = feeds(CHECKED_TEXTS, TOKENS, seed=2)
    logits = {name: _logits(predictor, texts) for name, predictor in predictors.items()}
    wanted = logits[reference]
    spread = np.sqrt(np.square(wanted - wanted.mean(axis=0)).mean())
    return {name: float(np.sqrt(np.square(each - wanted).mean()) / spread) for name, each in logits.items()}


def measure_shape(shape: str, report: Report, scratch: Path, progress: Progress) -> None:
    """Rows of one network: INT8 against FP32 for the big one, and against other quantizers' INT8 for both."""
    variants, missing = make_variants(shape, scratch, progress)
    predictors = {name: variant.load() for name, variant in variants.items()}
    progress(f"compare {shape}", 0.8)
    wrong = errors(predictors, "Paddle FP32")
    report.details[f"{shape} error"] = wrong
    if bad := [name for name in ("OpenVINO FP32", SHIPPED) if wrong[name] > MOST_ERROR]:
        raise EdgeKitError(
            f"{bad[0]} of {shape} is off by {wrong[bad[0]]:.2f} of what tells texts apart; at most {MOST_ERROR} is "
            "allowed before time is taken.",
            remedy="Look for an operator that the exporter or the quantizer handles wrongly.",
        )
    feed = feeds(1, TOKENS, seed=3)[0]
    times = take_turns({name: partial(each.run, feed) for name, each in predictors.items()}, progress=progress)
    report.details[f"{shape} ms"] = {name: list(np.round(each, 2)) for name, each in times.items()}
    medians = ", ".join(f"{name} {np.median(each):.1f} ms" for name, each in times.items())
    if shape == "12L768H":
        agreed = ", ".join(f"{name} {wrong[name]:.3f}" for name in wrong if name != "Paddle FP32")
        report.add(
            Row(
                "ERNIE 12L768H, 1x128: Paddle oneDNN FP32 against INT8 as shipped, on OpenVINO",
                ratio(times["Paddle FP32"], times[SHIPPED]),
                "times faster",
                Goal(3.5),
                f"{medians}. Difference of the logits from Paddle's, by what tells texts apart: {agreed}.",
            )
        )
    for peer in QUANTIZERS:
        report.add(_peer_row(shape, peer, missing.get(peer.shown, ""), wrong, times))


def _peer_row(shape: str, peer: Quantizer, missing: str, wrong: Mapping[str, float], times: Mapping[str, Times]) -> Row:
    what = f"ERNIE {shape}, 1x128: {peer.against(SHIPPED)}"
    if missing:
        return Row(what, None, note=missing)
    theirs = f"INT8 by {peer.shown}"
    note = (
        f"{np.median(times[theirs]):.1f} ms and {np.median(times[SHIPPED]):.1f} ms. {peer.shown}'s logits are off by "
        f"{wrong[theirs]:.3f}, ours by {wrong[SHIPPED]:.3f}."
    )
    goal: Goal | None = Goal(1.0, within_noise=True)
    if wrong[theirs] > BROKEN:
        goal, note = None, f"{note} That is no answer any more, so its time is no goal."
    return Row(what, ratio(times[theirs], times[SHIPPED]), "times faster", goal, note)


def measure_speed(report: Report, scratch: Path, progress: Progress) -> None:
    """All rows about time with random weights."""
    for shape in SHAPES:
        measure_shape(shape, report, scratch, progress)


def _logits(predictor: Predictor, texts: Sequence[Mapping[str, NDArray[np.generic]]]) -> NDArray[np.float64]:
    name = predictor.outputs[0].name
    return np.concatenate([predictor.run(text)[name].astype(np.float64) for text in texts])
