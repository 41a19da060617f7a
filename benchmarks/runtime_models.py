"""What ``bench runtime`` serves: the demonstration's bundle, PP-OCRv6 as the kit ships it, and a text model of 7 ms."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.compress_speed import THREADS
from benchmarks.harness import ROOT
from benchmarks.networks import network, random_weights, vocabulary
from benchmarks.recipes import PROFILE, edgekit
from compress.ernie.export import export_paddle
from compress.ernie.model import build_model
from compress.export import to_onnx
from examples.demo import Demo, build_demo_bundle
from examples.models import fetch
from examples.stages import cached
from runtime.artifact import Artifact, ModelEntry, TextSettings, read_artifact
from runtime.predictor import RunOptions
from runtime.text import VOCAB_NAME, load_text_classifier

_DATA = ROOT / "examples" / "ocr"
_POLICY = ROOT / "examples" / "policy.toml"
_LONGEST = 512  # tokens
_TEXT_MS = 7.0
_LENGTH_STEP = 16
CHARACTERS = "款项用于装修房屋收入稳定每月还利息工资转账银行贷申请"


def demo_bundle() -> Path:
    """The demonstration's bundle; made if it is not there, which takes minutes."""
    made = ROOT / "demo-out" / "bundle"
    return made if (made / "manifest.json").is_file() else build_demo_bundle(Demo(ROOT / "demo-out"))


def signed_demo(out: Path) -> Path:
    """The demonstration's artifacts in a bundle that this machine trusts, whoever signed the other one."""
    return bundle(out, [demo_bundle() / folder for folder in ("ocr", "text-risk", "behaviour")])


def ocr_artifact(name: str) -> Path:
    """PP-OCR ``name`` of ``examples.models`` as 'edgekit compress ocr' ships it for this processor.

    The gate sees the kit's own pictures only, never those that the benchmark measures on.
    """
    if name == "ppocr-v4":
        return demo_bundle() / "ocr"
    models = fetch(name)

    def build(out: Path) -> None:
        data = ("--calibration", _DATA / "calibration", "--truth", _DATA / "evaluation" / "Label.txt")
        edgekit("compress", "ocr", "--models", models, *data, "--profile", PROFILE.stem, "--out", out)

    return cached("ocr", [models, _DATA, PROFILE.stem], build)[0]


def bundle(out: Path, artifacts: Sequence[Path]) -> Path:
    """A signed bundle of ``artifacts`` with the demonstration's policy."""
    given = ("--profile", PROFILE.stem, "--policy", _POLICY, "--sample", ROOT / "examples" / "application")
    edgekit("bundle", "build", *artifacts, *given, "--out", out)
    return out


def slow_text(out: Path) -> tuple[Path, str]:
    """ERNIE 4L312H in FP32 with random weights and the demonstration's labels, and a text that takes it about 7 ms."""
    labels = read_artifact(demo_bundle() / "text-risk").text
    assert labels is not None
    config = network("4L312H", labels.labels)
    export_paddle(build_model(config, random_weights(config)), out / "paddle")
    artifact = out / "text"
    to_onnx(out / "paddle", artifact / "model.onnx")
    (artifact / VOCAB_NAME).write_bytes(vocabulary())
    settings = TextSettings(labels=labels.labels, multi_label=True, max_length=_LONGEST)
    Artifact(kind="text", profile=PROFILE.stem, models=(ModelEntry(name="text-risk"),), text=settings).write(artifact)
    return artifact, text_of(artifact, _TEXT_MS)


def text_of(artifact: Path, wanted_ms: float) -> str:
    """The shortest text, in steps, that takes the classifier ``wanted_ms``; the longest that it reads if none does."""
    classifier = load_text_classifier(artifact, "openvino", RunOptions(threads=THREADS))
    text = ""
    for length in range(_LENGTH_STEP, classifier.settings.max_length + 1, _LENGTH_STEP):
        text = (CHARACTERS * length)[: length - 2]  # with [CLS] and [SEP]
        classifier.classify([text])
        times = []
        for _ in range(15):
            begin = time.perf_counter()
            classifier.classify([text])
            times.append((time.perf_counter() - begin) * 1000)
        if min(times) >= wanted_ms:  # others on the machine only ever add to it
            break
    return text
