"""Intel Neural Compressor's static quantization; runs in an environment of its own, with nothing of the kit.

python inc_ptq.py MODEL.onnx FEEDS.npz OUT.onnx transformer|other

Version 2 is its last that reads ONNX. Static, written as Q/DQ, otherwise the first of its settings: without a measure
of accuracy it tries no other. It sees for itself whether a model is a transformer.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neural_compressor import PostTrainingQuantConfig, quantization, set_workspace

from benchmarks.feeds_file import read_feeds


class Loader:
    """Feeds as batches without labels."""

    batch_size = 1

    def __init__(self, file: str) -> None:
        self._feeds = read_feeds(file)

    def __len__(self) -> int:
        return len(self._feeds)

    def __iter__(self) -> Iterator[tuple[dict[str, Any], int]]:
        return ((feed, 0) for feed in self._feeds)


def main(model_file: str, feeds_file: str, out: str) -> None:
    """Quantize with the defaults on all feeds."""
    set_workspace(str(Path(out).with_name("workspace")))  # else it writes below where one stands
    loader = Loader(feeds_file)
    config = PostTrainingQuantConfig(approach="static", quant_format="QDQ", calibration_sampling_size=len(loader))
    quantization.fit(model_file, config, calib_dataloader=loader).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:4])
