"""What a student loses: macro-F1 on two public tasks, teacher and student both trained here.

Nothing that reads the same is in two parts of a task (``benchmarks.textsplit``). The student never sees the test part,
and no choice is made on it. Finished teachers and students are kept in the state directory.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row
from benchmarks.recipes import PROFILE, edgekit
from benchmarks.teacher import teacher
from benchmarks.textsplit import SHARED, TASKS, Task, write_task
from compress.ernie.export import export_checkpoint
from compress.evaluate import label_tally
from compress.gate import drop_interval
from compress.tally import Tally
from compress.textdata import read_texts
from devices.state import ensure_state_dir
from runtime.text import TextClassifier, load_text_classifier

SHOWN = {"finnsp": "FinNSP", "finese": "FinESE, ten labels"}
SEED = 0


def student(task: Task, teacher_dir: Path) -> tuple[Path, dict[str, object]]:
    """The directory of a task's compression, and what the command said: from the cache, or made now.

    Its key holds the teacher, the profile and the source of ``compress``: another way to compress is measured anew.
    """
    digest = hashlib.sha256(teacher_dir.name.encode() + PROFILE.read_bytes())
    for file in sorted((ROOT / "compress").rglob("*.py")):
        digest.update(file.read_bytes())
    cache = ensure_state_dir("cache", "bench")
    out = cache / f"student-{task.name}-{digest.hexdigest()[:12]}"
    said = out / "said.json"
    if not said.is_file():
        for old in cache.glob(f"student-{task.name}-*"):
            if old != out:
                shutil.rmtree(old)
        out.mkdir(exist_ok=True)
        arguments: list[str | Path] = ["--teacher", teacher_dir, "--train", task.train, "--dev", task.dev]
        arguments += ["--profile", PROFILE, "--recipe", "distil", "--out", out / "artifact", "--seed", str(SEED)]
        outcome = edgekit("compress", "ernie", *arguments)
        document = outcome.document | {"refusal": outcome.refusal, "seconds": round(outcome.seconds)}
        said.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return out, json.loads(said.read_text(encoding="utf-8"))


def measure_text(report: Report, scratch: Path, progress: Progress) -> None:
    """Two rows a task: student against teacher, INT8 against FP32."""
    for name in TASKS:
        shown = SHOWN[name]
        what = f"{shown}: macro-F1 lost by the student as shipped, against its teacher"
        if not (SHARED / "text_fincuge").is_dir():
            report.add(Row(what, None, note="The public texts are not beside this checkout."))
            continue
        progress(f"teacher for {shown}", 0.0)
        teacher_dir = teacher(name, progress=partial(_tell, progress, shown))
        task = write_task(name, scratch / "tasks")
        progress(f"student for {shown}", 0.0)
        out, said = student(task, teacher_dir)
        networks = {"teacher": teacher_dir, "student FP32": _last_network(out / "artifact.stages")}
        classifiers = {key: _served(path, scratch / f"{name} {key}") for key, path in networks.items()}
        if not said["refusal"]:
            classifiers["student as shipped"] = load_text_classifier(out / "artifact")
        _rows(report, shown, task, classifiers, said)


def _tell(progress: Progress, shown: str, line: str) -> None:
    progress(f"{shown}: {line}", 0.0)


def _rows(
    report: Report, shown: str, task: Task, classifiers: dict[str, TextClassifier], said: dict[str, object]
) -> None:
    data = read_texts(task.test)
    truth = np.array([task.labels.index(each.labels[0]) for each in data.examples])
    answers = {key: _answers(each, data.texts, task) for key, each in classifiers.items()}
    tallies = {key: label_tally(each, truth) for key, each in answers.items()}
    values = ", ".join(f"{key} {100 * tally.value:.2f}" for key, tally in tallies.items())
    report.details[f"{task.name} macro-F1"] = {key: tally.value for key, tally in tallies.items()}
    best = "student as shipped" if "student as shipped" in tallies else "student FP32"
    made = f"Shipped: {said['chosen']}" if not said["refusal"] else f"The gate refused: {said['refusal']}"
    note = f"{values} on {len(truth):,} texts of test; in brackets the 95 % interval. {made}."
    report.add(
        Row(
            f"{shown}: macro-F1 lost by the student as shipped, against its teacher",
            _points(tallies["teacher"], tallies[best]),
            "points",
            Goal(1.0, at_least=False),
            note,
        )
    )
    what = f"{shown}: macro-F1 lost by INT8, against the same student in FP32"
    if "int8" not in str(said.get("chosen", "")):
        report.add(Row(what, None, note="What was shipped is not INT8."))
    else:
        figure = _points(tallies["student FP32"], tallies[best])
        report.add(Row(what, figure, "points", Goal(0.3, at_least=False), f"{values}."))


def _points(before: Tally, after: Tally) -> Figure:
    """The drop in points with its 95 % interval."""
    interval = drop_interval(before, after, higher_is_better=True, seed=SEED)
    drop = before.value - after.value
    low, high = (interval.low, interval.high) if interval else (drop, drop)
    return Figure(100 * drop, 100 * low, 100 * high)


def _last_network(stages: Path) -> Path:
    """The checkpoint of the student, before INT8."""
    (found,) = stages.glob("distil-*")
    return found


def _served(checkpoint: Path, out: Path) -> TextClassifier:
    export_checkpoint(checkpoint, out, "onnx")
    return load_text_classifier(out, "openvino")


def _answers(classifier: TextClassifier, texts: list[str], task: Task) -> NDArray[np.int64]:
    results = classifier.classify(texts)
    return np.array([task.labels.index(max(each.labels, key=each.labels.__getitem__)) for each in results])
