"""The whole way from a big ERNIE to what a branch serves: recipes from cheap to dear until one meets the limits.

The teacher in FP32 is the reference: its metric on dev is what may drop by at most ``profile.compress.max_drop``.
Every figure is measured on the profile's first backend, which will serve. ``compress.ernie.search`` says which recipes
there are and which variant wins; this file runs them.
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.artifact_dir import fresh_directory
from compress.distill import DistillSettings
from compress.ernie.checkpoint import read_checkpoint
from compress.ernie.estimate import machine_flops, measuring_seconds
from compress.ernie.export import MODEL_NAME
from compress.ernie.measure import Bench, Candidate
from compress.ernie.search import Measured, Recipe, best, lacks, nearest, pointless, selected
from compress.ernie.steps import Steps
from compress.ernie.task import TextTask
from compress.gate import Verdict, judge
from compress.report import Row, fingerprint, write_report
from compress.stages import Stages, stages_beside
from devices.errors import AccuracyDropError
from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, ModelEntry
from runtime.text import VOCAB_NAME

# largest difference of a logit from the golden one: INT8 sums round differently on processors without VNNI
TOLERANCES = {"fp32": 1e-3, "int8": 0.5}
_GOLDEN_TEXTS = 8
Progress = Callable[[str, float], None]


def compress_ernie(
    teacher_dir: Path,
    train_file: Path,
    dev_file: Path,
    pool_file: Path | None,
    profile: Profile,
    out: Path,
    *,
    recipes: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
    settings: DistillSettings | None = None,
) -> dict[str, object]:
    """Compress an ERNIE classifier for one profile and write an artifact of kind ``text``.

    Finished stages are kept in ``OUT.stages``, so that the same call goes on where an interrupted one stopped.

    Args:
        teacher_dir: A PaddleNLP checkpoint with a label head.
        train_file: Labelled texts to learn from.
        dev_file: Labelled texts that every figure comes from; the student never learns from them.
        pool_file: Texts without labels, which the teacher labels; None for none.
        profile: Which backend, whether INT8, how large a student, how much may be lost.
        out: The artifact's directory; made if missing.
        recipes: Names from ``compress.ernie.search``: all of them are tried and the fastest variant that passes is
            taken. None named: from cheap to dear, until one passes.
        seed: The same seed, data and machine give the same model.
        progress: Called with a stage and the share of it that is done, 0 to 1.
        settings: How long students learn; None takes what suits them.

    Returns:
        ``{"out", "stages", "backend", "chosen", "texts": {"train", "dev", "pool"}, "rows": [...]}``, rows as in
        report.json.

    Raises:
        CheckpointError: The teacher cannot be used.
        DataError: A data file cannot be used.
        CompressionError: Training, export or quantization failed, or another command works on ``out``.
        AccuracyDropError: No variant meets the profile's limits; the nearest is named with what it lacks.
        ArtifactError: ``out`` cannot be written.
        BackendError: The profile's first backend is not installed or refuses the model.
        UsageError: There is no such recipe.
    """
    search = _Search(profile, progress or (lambda stage, share: None))
    search.report("read", 0.0)
    wanted = selected(recipes)
    task, steps, stages, origin, data = _prepare(
        teacher_dir, train_file, dev_file, pool_file, profile, out, seed, settings, search.report
    )
    with stages.alone():
        bench = Bench(task, profile, stages, data)
        search.report("measure the teacher", 0.0)
        search.add(bench.plain("teacher", teacher_dir, origin), bench)
        for recipe in wanted:
            if why := steps.unfit(recipe) or pointless(recipe, search.measured(), profile.compress):
                search.skipped.append(f"Recipe {recipe.name} was not tried: {why}.")
                continue
            _try(recipe, steps, bench, search)
            if not recipes and search.winner() is not None:
                break
    files = {"teacher": teacher_dir} | task.files
    command = ["edgekit", "compress", "ernie", *(f"--{name}={path}" for name, path in files.items())]
    command += [
        f"--profile={profile.name}",
        f"--out={out}",
        f"--seed={seed}",
        *(f"--recipe={each}" for each in recipes),
    ]

    def describe(directory: Path) -> None:
        write_report(
            directory,
            search.rows(),
            seed=seed,
            data_fingerprints={"teacher": origin} | data,
            command=shlex.join(command),
        )

    winner = search.winner()
    if winner is None:
        describe(stages.root)
        raise search.refusal(stages.root / "report.md")
    with fresh_directory(out) as draft:
        _write(draft, winner, task, profile)
        describe(draft)
    search.report("done", 1.0)
    return {
        "out": str(out),
        "stages": str(stages.root),
        "backend": profile.serve.backends[0],
        "chosen": winner.variant,
        "texts": task.counts,
        "rows": json.loads((out / "report.json").read_text(encoding="utf-8"))["rows"],
    }


def plan_ernie(
    teacher_dir: Path,
    train_file: Path,
    dev_file: Path,
    pool_file: Path | None,
    profile: Profile,
    out: Path,
    *,
    recipes: Sequence[str] = (),
    seed: int = 0,
    settings: DistillSettings | None = None,
) -> dict[str, object]:
    """What ``compress_ernie`` would do with the same arguments, and roughly how long it would take.

    Teacher and data are read and checked; nothing is written.

    Returns:
        ``{"out", "stages", "plan": [{"recipe", "stage", "kept", "seconds"}]}``; ``kept`` says that the stage is
        there already from an earlier run.
    """
    wanted = selected(recipes)
    task, steps, stages, _, _ = _prepare(
        teacher_dir, train_file, dev_file, pool_file, profile, out, seed, settings, lambda stage, share: None
    )
    flops = machine_flops()
    plan: list[dict[str, object]] = []
    known: set[Path] = set()
    for recipe in (each for each in wanted if steps.unfit(each) is None):
        for path, stage in steps.plan(recipe):
            if path not in known:
                known.add(path)
                kept = path.is_dir()
                seconds = 0.0 if kept else stage.seconds(flops)
                plan.append({"recipe": recipe.name, "stage": stage.name, "kept": kept, "seconds": round(seconds, 3)})
        seconds = measuring_seconds(steps.config(recipe), len(task.dev_texts), flops, int8=profile.serve.int8)
        entry = {"recipe": recipe.name, "stage": "quantize and measure", "kept": False, "seconds": round(seconds, 3)}
        plan.append(entry)
    return {"out": str(out), "stages": str(stages.root), "plan": plan}


def _prepare(
    teacher_dir: Path,
    train_file: Path,
    dev_file: Path,
    pool_file: Path | None,
    profile: Profile,
    out: Path,
    seed: int,
    settings: DistillSettings | None,
    report: Progress,
) -> tuple[TextTask, Steps, Stages, str, dict[str, str]]:
    """Everything read and checked: task, steps, stages, the teacher's fingerprint and those of the data."""
    teacher = read_checkpoint(teacher_dir)
    task = TextTask(teacher, train_file, dev_file, pool_file)
    stages = Stages(stages_beside(out))
    origin, data = fingerprint(teacher_dir), task.fingerprints()
    steps = Steps(
        *(teacher_dir, origin, teacher.config, task, profile.compress.student, stages, data),
        seed=seed,
        settings=settings,
        progress=report,
    )
    return task, steps, stages, origin, data


def _try(recipe: Recipe, steps: Steps, bench: Bench, search: _Search) -> None:
    """All variants of one recipe's network that are worth a try."""
    network = steps.network(recipe)
    search.report(f"measure the {recipe.network}", 0.0)
    search.add(bench.plain(recipe.network, *network), bench)
    if not search.profile.serve.int8:
        return
    search.report(f"quantize the {recipe.network}", 0.0)
    search.add(bench.int8(recipe.network, *network), bench)


class _Search:
    """What was tried so far, measured together, the reference first."""

    def __init__(self, profile: Profile, progress: Progress) -> None:
        self.profile = profile
        self.skipped: list[str] = []
        self._progress = progress
        self._tried: list[Candidate] = []
        self._times: dict[str, tuple[float, ...]] = {}

    def report(self, stage: str, share: float) -> None:
        """Pass progress on, with the best variant so far."""
        found = self.winner()
        so_far = f" (best so far: {found.variant}, {found.value:.4f})" if found else ""
        self._progress(f"{stage}{so_far}", share)

    def add(self, candidate: Candidate, bench: Bench) -> None:
        """Take in a candidate and time all of them again, in turns: only ratios of one run mean something."""
        self._tried.append(candidate)
        self._times = bench.latencies(self._tried)

    def measured(self) -> list[Measured]:
        """All but the reference."""
        return [self._measure(each) for each in self._tried[1:]]

    def winner(self) -> Candidate | None:
        """The variant that goes into the artifact; None where nothing passes."""
        chosen = best(self.measured(), self.profile.compress)
        return next((each for each in self._tried if chosen and each.variant == chosen.variant), None)

    def refusal(self, report: Path) -> AccuracyDropError:
        """What nothing passed, and by how much the nearest failed."""
        near = nearest(self.measured(), self.profile.compress)
        value = next(each.value for each in self._tried if each.variant == near.variant)
        return AccuracyDropError(
            f"No variant meets the limits of profile {self.profile.name}. Nearest is {near.variant}, with "
            f"{value:.4f} after {self._tried[0].value:.4f}: {'; '.join(lacks(near, self.profile.compress))}.",
            state=f"No artifact was written. What was tried is in {report}; finished stages are kept beside it.",
            remedy="Give more texts with --pool, allow more loss (max_drop) or more time (text_latency_ms) in the "
            "profile, or name a larger student there.",
        )

    def rows(self) -> list[Row]:
        """For the report."""
        winner = self.winner()
        rows = []
        for candidate in self._tried:
            short_ms, long_ms = self._times[candidate.variant]
            said = [self._sentence(candidate), f"128 tokens {long_ms:.1f} ms, 64 tokens {short_ms:.1f} ms."]
            rows.append(
                Row(
                    MODEL_NAME,
                    candidate.variant,
                    TextTask.metric,
                    candidate.value,
                    True,
                    long_ms,
                    candidate.size_bytes,
                    candidate.predictor.backend,
                    " ".join(said),
                    chosen=candidate is winner,
                )
            )
        return rows

    def _sentence(self, candidate: Candidate) -> str:
        if candidate is self._tried[0]:
            return "The reference."
        measured = self._measure(candidate)
        missing = [each for each in lacks(measured, self.profile.compress) if not each.startswith("it loses")]
        more = f" Not used: {'; '.join(missing)}." if missing else ""
        return measured.verdict.sentence + more

    def _measure(self, candidate: Candidate) -> Measured:
        plain = f"{candidate.network} fp32"
        return Measured(
            candidate.variant,
            self._verdict(candidate),
            self._times[candidate.variant][-1],
            candidate.size_bytes,
            self._times[plain][-1] if candidate.precision == "int8" else None,
        )

    def _verdict(self, candidate: Candidate) -> Verdict:
        limit = self.profile.compress.max_drop
        return judge(self._tried[0].value, candidate.value, max_drop=limit, higher_is_better=True)


def _write(out: Path, chosen: Candidate, task: TextTask, profile: Profile) -> None:
    for file in chosen.directory.iterdir():
        shutil.copyfile(file, out / file.name)
    shutil.copyfile(chosen.checkpoint / VOCAB_NAME, out / VOCAB_NAME)
    settings = task.settings.model_copy(update={"temperature": task.temperature(chosen.logits)})
    encoded = chosen.tokenizer.encode(task.dev_texts[:_GOLDEN_TEXTS], settings.max_length)
    feeds = {"input_ids": encoded.input_ids, "token_type_ids": encoded.token_type_ids}
    arrays: dict[str, NDArray[np.generic]] = {GOLDEN_INPUT + name: array for name, array in feeds.items()}
    arrays |= {GOLDEN_OUTPUT + name: array for name, array in chosen.predictor.run(feeds).items()}
    np.savez(out / "golden.npz", **arrays)
    entry = ModelEntry(
        name=MODEL_NAME,
        precision=chosen.precision,
        backend=profile.serve.backends[0],
        golden="golden.npz",
        tolerance=TOLERANCES[chosen.precision],
    )
    Artifact(kind="text", profile=profile.name, models=(entry,), text=settings).write(out)
