"""NNCF's default post-training quantization; runs in the peers' environment, with nothing of the kit.

python nncf_ptq.py MODEL.onnx FEEDS.npz OUT.xml transformer|other
"""

import sys

import nncf
import openvino

from benchmarks.feeds_file import read_feeds


def main(model_file: str, feeds_file: str, out: str, kind: str) -> None:
    """Quantize with NNCF's defaults on all feeds, and write OpenVINO's format."""
    feeds = read_feeds(feeds_file)
    model = openvino.Core().read_model(model_file)
    model_type = nncf.ModelType.TRANSFORMER if kind == "transformer" else None
    small = nncf.quantize(model, nncf.Dataset(feeds), model_type=model_type, subset_size=len(feeds))
    openvino.save_model(small, out, compress_to_fp16=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
