"""``rapidocr_api`` on OpenVINO; runs in RapidOCR's environment.

    python rapidocr_server.py PORT THREADS

The server makes its ``RapidOCR()`` without arguments, which would be ONNX Runtime: here it gets the faster engine and
the number of threads that all have. Nothing else is changed.
"""

from __future__ import annotations

import functools
import sys

import rapidocr
import uvicorn

if __name__ == "__main__":
    params = {
        "Global.log_level": "error",
        "EngineConfig.openvino.inference_num_threads": int(sys.argv[2]),
        **{f"{stage}.engine_type": rapidocr.EngineType.OPENVINO for stage in ("Det", "Cls", "Rec")},
    }
    rapidocr.RapidOCR = functools.partial(rapidocr.RapidOCR, params=params)
    uvicorn.run("rapidocr_api.main:app", host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
