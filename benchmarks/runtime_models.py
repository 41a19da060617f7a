"""What ``bench runtime`` serves: PP-OCR as the kit ships it, bundles with it, and a text model of a chosen cost."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness import ROOT
from benchmarks.recipes import PROFILE, edgekit
from examples.models import fetch
from examples.stages import cached

_DATA = ROOT / "examples" / "ocr"


def ocr_artifact(name: str) -> Path:
    """PP-OCR ``name`` of ``examples.models`` as 'edgekit compress ocr' ships it for this processor, as in the demo.

    The gate sees the kit's own pictures only, never those that the benchmark measures on.
    """
    models = fetch(name)

    def build(out: Path) -> None:
        data = ("--calibration", _DATA / "calibration", "--truth", _DATA / "evaluation" / "Label.txt")
        edgekit("compress", "ocr", "--models", models, *data, "--profile", PROFILE, "--out", out)

    # the demonstration's own key, so that whoever ran it has the artifact already
    return cached("ocr", [models, _DATA, PROFILE.stem], build)[0]
