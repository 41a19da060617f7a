"""One engine in a process of its own, driven over a pipe; runs in the environment of the engine it drives.

    python engine.py ENGINE '{"threads": 2, ...}'

A request is a JSON object on one line of stdin, an answer one on stdout:

    (at start)              {"ready_s", "precisions": [...], "resident_mb", "peak_mb"}
    {"read": [FILE, ...]}   {"ms": [...], "lines": [[{"text", "box"}, ...], ...], "resident_mb", "peak_mb"}
    {"profile": [FILE, ..]} {"shares": {PLACE: share}}   where all threads are, looked at every 2 ms

A picture's time goes from its file's bytes to its lines; "edgekit-text" reads a file as a text and finds no lines.
Nothing of the kit is imported by other people's engines.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

Read = Callable[[bytes], list[dict[str, Any]]]
_LOOK_EVERY_S = 0.002


def edgekit(options: dict[str, Any]) -> Read:
    """The kit's own pipeline on a model set or an artifact, with the allocator as the kit's worker sets it."""
    from runtime.images import load_image
    from runtime.memory import bound_allocator
    from runtime.ocr.models import read_ocr_models
    from runtime.ocr.pipeline import load_ocr
    from runtime.predictor import RunOptions

    bound_allocator()
    pipeline = load_ocr(read_ocr_models(Path(options["models"])), "openvino", RunOptions(threads=options["threads"]))

    def read(data: bytes) -> list[dict[str, Any]]:
        return [{"text": line.text, "box": line.box} for line in pipeline.read(load_image(data))]

    return read


def edgekit_text(options: dict[str, Any]) -> Read:
    """The kit's text classifier, in the same process as who asks."""
    from runtime.predictor import RunOptions
    from runtime.text import load_text_classifier

    classifier = load_text_classifier(Path(options["models"]), "openvino", RunOptions(threads=options["threads"]))

    def read(data: bytes) -> list[dict[str, Any]]:
        classifier.classify([data.decode()])
        return []

    return read


def rapidocr(options: dict[str, Any]) -> Read:
    """RapidOCR 3 on OpenVINO with the models in its wheel; everything but threads and engine as it comes."""
    from rapidocr import EngineType, RapidOCR

    # never called with use_det=False: that would change the object for good
    engine = RapidOCR(
        params={
            "Global.log_level": "error",
            "EngineConfig.openvino.inference_num_threads": options["threads"],
            **{f"{stage}.engine_type": EngineType.OPENVINO for stage in ("Det", "Cls", "Rec")},
        }
    )

    def read(data: bytes) -> list[dict[str, Any]]:
        result = engine(data)
        if result.txts is None:
            return []
        return [{"text": text, "box": box.tolist()} for text, box in zip(result.txts, result.boxes, strict=True)]

    return read


def rapidocr_openvino(options: dict[str, Any]) -> Read:
    """RapidOCR 1.4 on OpenVINO with the models in its wheel; everything but threads as it comes."""
    from rapidocr_openvino import RapidOCR

    engine = RapidOCR(inference_num_threads=options["threads"])

    def read(data: bytes) -> list[dict[str, Any]]:
        result, _ = engine(data)
        return [{"text": text, "box": box} for box, text, _ in result or ()]

    return read


ENGINES = {
    "edgekit": edgekit,
    "edgekit-text": edgekit_text,
    "rapidocr": rapidocr,
    "rapidocr-openvino": rapidocr_openvino,
}


def watch_precision(forced: str | None) -> list[str]:
    """Note what OpenVINO computes in for every model that is compiled from now on, and ``forced`` sets it before."""
    import openvino

    seen: list[str] = []
    compile_model = openvino.Core.compile_model

    def compiled(core: Any, *arguments: Any, **named: Any) -> Any:
        if forced:
            core.set_property("CPU", {"INFERENCE_PRECISION_HINT": forced})
        model = compile_model(core, *arguments, **named)
        seen.append(str(model.get_property("INFERENCE_PRECISION_HINT")).split("'")[-2:][0])
        return model

    openvino.Core.compile_model = compiled
    return seen


def memory() -> dict[str, float]:
    """This process's resident memory now and at its highest, in MB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return {"resident_mb": round(now, 1), "peak_mb": round(peak, 1)}


def profiled(read: Read, files: list[str]) -> dict[str, float]:
    """Shares of the time by the innermost function of the engine's own packages, over all threads but this watch."""
    places: Counter[str] = Counter()
    ended = threading.Event()

    def look() -> None:
        own = threading.get_ident()
        while not ended.wait(_LOOK_EVERY_S):
            for thread, frame in sys._current_frames().items():
                if thread != own and (place := _place(frame)):
                    places[place] += 1

    watch = threading.Thread(target=look)
    watch.start()
    for file in files:
        read(Path(file).read_bytes())
    ended.set()
    watch.join()
    return {place: round(count / places.total(), 4) for place, count in places.most_common(20)}


def _place(frame: Any) -> str:
    while frame is not None:
        file = frame.f_code.co_filename
        for package in ("/runtime/", "/rapidocr/", "/rapidocr_openvino/"):
            if package in file and "/openvino/runtime/" not in file:
                return f"{file.rpartition(package)[2]}:{frame.f_code.co_name}"
        frame = frame.f_back
    return ""


def main() -> None:
    """Load the engine, then answer until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print to stdout
    name, options = sys.argv[1], json.loads(sys.argv[2])

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document | memory()) + "\n")
        answers.flush()

    started = time.perf_counter()
    precisions = watch_precision(options.get("precision"))
    read = ENGINES[name](options)
    read(Path(options["warm_up"]).read_bytes())  # RapidOCR 3 loads its models at the first picture
    answer({"ready_s": time.perf_counter() - started, "precisions": precisions})
    for line in sys.stdin:
        request = json.loads(line)
        if "profile" in request:
            answer({"shares": profiled(read, request["profile"])})
            continue
        times, lines = [], []
        for file in request["read"]:
            data = Path(file).read_bytes()
            begin = time.perf_counter()
            lines.append(read(data))
            times.append((time.perf_counter() - begin) * 1000)
        answer({"ms": times, "lines": lines})


if __name__ == "__main__":
    main()
