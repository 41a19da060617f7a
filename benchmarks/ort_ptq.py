"""ONNX Runtime's static quantization; runs in the peers' environment, with nothing of the kit.

python ort_ptq.py MODEL.onnx FEEDS.npz OUT.onnx transformer|other

Its defaults throughout: Q/DQ, eight bits with a sign on both sides, one scale a tensor. It asks for a pass over the
graph first, which it gets; it cannot be told that a model is a transformer.
"""

import sys
from pathlib import Path
from typing import Any

from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.feeds_file import read_feeds


class Feeds(CalibrationDataReader):
    """What the file holds, one feed after the other."""

    def __init__(self, file: str) -> None:
        self._feeds = iter(read_feeds(file))

    def get_next(self) -> dict[str, Any] | None:
        """The next feed, None after the last."""
        return next(self._feeds, None)


def main(model_file: str, feeds_file: str, out: str) -> None:
    """Quantize with the defaults on all feeds."""
    prepared = Path(out).with_name("prepared.onnx")
    quant_pre_process(model_file, prepared, skip_symbolic_shape=True)  # which fails on what paddle2onnx writes
    quantize_static(prepared, out, Feeds(feeds_file))
    prepared.unlink()


if __name__ == "__main__":
    main(*sys.argv[1:4])
