"""What compression measured, for people (``report.md``, ``report.png``) and programs (``report.json``)."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

_PACKAGES = ("paddlepaddle", "paddleslim", "paddle2onnx", "onnx", "onnxruntime", "openvino", "numpy")


@dataclass(frozen=True)
class Row:
    """One variant of one model, measured.

    Attributes:
        model: As in the artifact, for example ``ocr-det``.
        variant: For example ``fp32``, ``int8``.
        metric: What ``value`` is, for example ``hmean`` or ``cer``.
        value: The metric on the evaluation data.
        higher_is_better: The metric's direction.
        latency_ms: Median of one inference, measured interleaved with the model's other variants.
        size_bytes: Of the model's files.
        backend: What it was measured on.
        verdict: The gate's sentence.
        chosen: Whether this variant went into the artifact.
    """

    model: str
    variant: str
    metric: str
    value: float
    higher_is_better: bool
    latency_ms: float
    size_bytes: int
    backend: str
    verdict: str
    chosen: bool = False


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, or of a directory's file names and contents in sorted order; hexadecimal."""
    digest = hashlib.sha256()
    if path.is_file():
        digest.update(path.read_bytes())
    else:
        for each in sorted(file for file in path.rglob("*") if file.is_file()):
            digest.update(each.relative_to(path).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(each.read_bytes()).digest())
    return digest.hexdigest()


def write_report(
    out: Path, rows: Sequence[Row], *, seed: int, data_fingerprints: Mapping[str, str], command: str
) -> None:
    """Write ``report.json``, ``report.md`` and ``report.png`` into the directory ``out``.

    Args:
        out: The artifact's directory; it must exist.
        rows: In the order in which they are to be read.
        seed: What every random choice started from.
        data_fingerprints: What was read (training, calibration, evaluation data) to its SHA-256.
        command: The command that reproduces this, as typed.
    """
    machine = _machine()
    versions = _versions()
    document = {
        "command": command,
        "seed": seed,
        "data": dict(data_fingerprints),
        "machine": machine,
        "versions": versions,
        "rows": [asdict(row) for row in rows],
    }
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    lines = ["# Compression report", "", *_table(rows), ""]
    lines += [f"- {row.model} {row.variant}: {row.verdict}" for row in rows if row.verdict]
    lines += ["", f"Command: `{command}`", "", f"Seed: {seed}", "", f"Machine: {', '.join(machine.values())}", ""]
    lines += [f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}", ""]
    lines += [f"- {name}: sha256 {value}" for name, value in data_fingerprints.items()]
    (out / "report.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    _draw(rows, out / "report.png")


def _table(rows: Sequence[Row]) -> list[str]:
    lines = ["| model | variant | metric | value | latency, ms | size, MB | backend | chosen |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in rows:
        direction = "higher is better" if row.higher_is_better else "lower is better"
        lines.append(
            f"| {row.model} | {row.variant} | {row.metric} ({direction}) | {row.value:.4f} | {row.latency_ms:.1f} "
            f"| {row.size_bytes / 1e6:.2f} | {row.backend} | {'yes' if row.chosen else ''} |"
        )
    return lines


def _draw(rows: Sequence[Row], path: Path) -> None:
    """One panel a model: the metric against latency, area for size, a ring around what was chosen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(row.model for row in rows))
    figure = Figure(figsize=(4 * max(1, len(models)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, max(1, len(models)), squeeze=False)[0]
    for panel, model in zip(panels, models, strict=False):
        mine = [row for row in rows if row.model == model]
        largest = max(row.size_bytes for row in mine) or 1
        for row in mine:
            area = 40 + 400 * row.size_bytes / largest  # points squared; a model of no size is still seen
            edge = {"edgecolors": "black", "linewidths": 2} if row.chosen else {}
            panel.scatter(row.latency_ms, row.value, s=area, alpha=0.6, **edge)
            label = f"{row.variant}, {row.size_bytes / 1e6:.1f} MB{' (chosen)' if row.chosen else ''}"
            panel.annotate(label, (row.latency_ms, row.value), textcoords="offset points", xytext=(0, 14), ha="center")
        panel.margins(0.5, 0.35)
        panel.set_title(model)
        panel.set_xlabel("latency, ms")
        panel.set_ylabel(f"{mine[0].metric} ({'higher' if mine[0].higher_is_better else 'lower'} is better)")
    figure.savefig(path, dpi=100)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, str]:
    cpu = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {"cpu": cpu, "cores": f"{os.cpu_count()} cores", "system": platform.platform()}
