"""What compression measured, for people (``report.md``, ``report.png``) and programs (``report.json``)."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path

from compress.picture import draw

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
        interval: Where the metric lies with 95 % confidence, judged by resampling the evaluation data against the
            reference; None where that was not worked out.
        fp32_layers: Operators of an INT8 model that stayed FP32, because they cost most accuracy.
        by_label: The metric of each label by itself, where it has labels.
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
    interval: tuple[float, float] | None = None
    fp32_layers: tuple[str, ...] = ()
    by_label: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Limits:
    """What the variants of one model had to keep to.

    Attributes:
        value: The worst value of the metric that passes; None without a gate.
        latency_ms: The longest that one inference may take; None without a limit.
    """

    value: float | None
    latency_ms: float | None = None


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
    out: Path,
    rows: Sequence[Row],
    *,
    seed: int,
    data_fingerprints: Mapping[str, str],
    command: str,
    limits: Mapping[str, Limits] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write ``report.json``, ``report.md`` and ``report.png`` into the directory ``out``.

    Args:
        out: The artifact's directory; it must exist.
        rows: In the order in which they are to be read.
        seed: What every random choice started from.
        data_fingerprints: What was read (training, calibration, evaluation data) to its SHA-256.
        command: The command that reproduces this, as typed.
        limits: By model: what its variants had to keep to.
        notes: What else a reader should know, a sentence each: what was left out of the data, or not tried.
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
        "limits": {model: asdict(each) for model, each in (limits or {}).items()},
        "notes": list(notes),
    }
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    (out / "report.json").write_text(text + "\n", encoding="utf-8")
    lines = ["# Compression report", "", *_table(rows), ""]
    lines += [f"- {row.model} {row.variant}: {row.verdict}{_kept(row)}" for row in rows if row.verdict]
    lines += _by_label(rows)
    lines += ["", *(f"- {note}" for note in notes)] if notes else []
    lines += ["", f"Command: `{command}`", "", f"Seed: {seed}", "", f"Machine: {', '.join(machine.values())}", ""]
    lines += [f"Versions: {', '.join(f'{name} {version}' for name, version in versions.items())}", ""]
    lines += [f"- {name}: sha256 {value}" for name, value in data_fingerprints.items()]
    (out / "report.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    draw(rows, limits or {}, out / "report.png")


def _by_label(rows: Sequence[Row]) -> list[str]:
    """Reference and what was chosen, label by label: an average can hide that one of them is lost."""
    shown = [row for number, row in enumerate(rows) if row.by_label and (row.chosen or number == 0)]
    if not shown:
        return []
    labels = list(dict.fromkeys(label for row in shown for label in row.by_label))
    lines = ["", f"| label | {' | '.join(row.variant for row in shown)} |", f"|---|{'---|' * len(shown)}"]
    for label in labels:
        values = (row.by_label.get(label) for row in shown)
        lines.append(f"| {label} | {' | '.join('' if value is None else f'{value:.4f}' for value in values)} |")
    return lines


def _kept(row: Row) -> str:
    return f" FP32 in it: {', '.join(row.fp32_layers)}." if row.fp32_layers else ""


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
