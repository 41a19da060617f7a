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
from compress.ernie.checkpoint import read_checkpoint
from compress.ernie.distill import DistillSettings
from compress.ernie.estimate import machine_flops, measuring_seconds
from compress.ernie.export import MODEL_NAME
from compress.ernie.measure import Bench, Candidate
from compress.ernie.results import Results
from compress.ernie.search import Recipe, pointless, selected
from compress.ernie.steps import Steps
from compress.ernie.task import Task, read_task
from compress.launched import team
from compress.report import fingerprint, write_report
from compress.source import require_backend
from compress.stages import Stages, stages_beside
from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, ModelEntry
from runtime.readable import PAIRS_NAME, Pairs
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
    """Compress an ERNIE model for one profile and write an artifact of kind ``text``.

    Finished stages are kept in ``OUT.stages``, so that the same call goes on where an interrupted one stopped.

    Args:
        teacher_dir: A PaddleNLP checkpoint with a head for texts or for tokens.
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
        ``{"out", "stages", "backend", "chosen", "texts": {"train", "dev", "pool"}, "notes", "rows": [...]}``, rows as
        in report.json.

    Raises:
        CheckpointError: The teacher cannot be used.
        TeacherError: The teacher is worse than chance.
        DataError: A data file cannot be used.
        CompressionError: Training, export or quantization failed, or another command works on ``out``.
        AccuracyDropError: No variant meets the profile's limits; the nearest is named with what it lacks.
        ArtifactError: ``out`` cannot be written.
        BackendError: The profile's first backend is not installed or refuses the model.
        UsageError: There is no such recipe.
    """
    report = progress or (lambda stage, share: None)
    wanted = selected(recipes)
    with team():
        report("read", 0.0)
        job = _Job(teacher_dir, train_file, dev_file, pool_file, profile, out, seed)
        results = Results(profile, job.task.metric)

        def tell(stage: str, share: float) -> None:
            report(f"{stage}{results.so_far()}", share)

        with job.stages.alone():
            notes = _search(job, wanted, results, tell, settings, first_wins=not recipes)
        command = shlex.join([*job.command(), *(f"--recipe={each}" for each in recipes)])
        fingerprints = {"teacher": job.origin} | job.data

        def describe(directory: Path) -> None:
            write_report(
                *(directory, results.rows()),
                seed=seed,
                data_fingerprints=fingerprints,
                command=command,
                limits=results.limits(),
                notes=notes,
            )

        winner = results.winner()
        if winner is None:
            describe(job.stages.root)
            raise results.refusal(job.stages.root / "report.md")
        if said := job.task.calibration(winner.logits):
            notes.append(said)
        with fresh_directory(out) as draft:
            _write(draft, winner, job.task, profile)
            describe(draft)
        tell("done", 1.0)
    return {
        "out": str(out),
        "stages": str(job.stages.root),
        "backend": profile.serve.measured_on,
        "chosen": winner.variant,
        "texts": job.task.counts,
        "notes": notes,
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
) -> dict[str, object]:
    """What ``compress_ernie`` would do with the same arguments, and roughly how long it would take.

    Teacher and data are read and checked; nothing is written.

    Returns:
        ``{"out", "stages", "plan": [{"recipe", "stage", "kept", "seconds"}]}``; ``kept`` says that the stage is
        there already from an earlier run.
    """
    wanted = selected(recipes)
    job = _Job(teacher_dir, train_file, dev_file, pool_file, profile, out, seed)
    steps = job.steps(lambda stage, share: None, None)
    flops = machine_flops()
    plan: list[dict[str, object]] = []
    known: set[Path] = set()
    for recipe in (each for each in wanted if steps.unfit(each) is None):
        for path, stage in steps.plan(recipe):
            if path not in known:
                known.add(path)
                seconds = 0.0 if path.is_dir() else stage.seconds(flops)
                plan.append({"recipe": recipe.name, "stage": stage.name, "kept": path.is_dir(), "seconds": seconds})
        seconds = measuring_seconds(steps.config(recipe), len(job.task.dev_texts), flops, int8=profile.serve.int8)
        plan.append({"recipe": recipe.name, "stage": "quantize and measure", "kept": False, "seconds": seconds})
    return {"out": str(out), "stages": str(job.stages.root), "plan": plan}


class _Job:
    """One command's arguments, with teacher and data read and checked."""

    def __init__(
        self,
        teacher_dir: Path,
        train_file: Path,
        dev_file: Path,
        pool_file: Path | None,
        profile: Profile,
        out: Path,
        seed: int,
    ) -> None:
        require_backend(profile.serve.measured_on)
        teacher = read_checkpoint(teacher_dir)  # not kept: half a gigabyte, and every step reads what it needs
        self.config = teacher.config
        self.task = read_task(teacher, train_file, dev_file, pool_file)
        self.teacher, self.profile, self.out, self.seed = teacher_dir, profile, out, seed
        self.origin, self.data = fingerprint(teacher_dir), self.task.fingerprints()
        self.stages = Stages(stages_beside(out))

    def steps(self, report: Progress, settings: DistillSettings | None) -> Steps:
        """The recipes' steps on this teacher and these texts."""
        return Steps(
            *(self.teacher, self.origin, self.config, self.task, self.profile, self.stages, self.data),
            seed=self.seed,
            settings=settings,
            progress=report,
        )

    def command(self) -> list[str]:
        """What a person types to get the same."""
        files = {"teacher": self.teacher} | self.task.files
        arguments = [f"--{name}={path}" for name, path in files.items()]
        arguments += [f"--profile={self.profile.name}", f"--out={self.out}", f"--seed={self.seed}"]
        return ["edgekit", "compress", "ernie", *arguments]


def _search(
    job: _Job,
    wanted: Sequence[Recipe],
    results: Results,
    tell: Progress,
    settings: DistillSettings | None,
    *,
    first_wins: bool,
) -> list[str]:
    """Try recipes in their order; returns what a reader of the report should know besides the rows."""
    notes = list(job.task.notes)
    steps = job.steps(tell, settings)
    bench = Bench(job.task, job.profile, job.stages, job.data)
    tell("measure the teacher", 0.0)
    teacher = bench.plain("teacher", job.teacher, job.origin)
    job.task.check_teacher(teacher.value)
    results.add(teacher, bench)
    for recipe in wanted:
        if why := steps.unfit(recipe) or pointless(recipe, results.measured(), job.profile.compress):
            notes.append(f"Recipe {recipe.name} was not tried: {why}.")
            continue
        _try(recipe, steps, bench, results, tell, int8=job.profile.serve.int8)
        if first_wins and results.winner() is not None:
            break
    return notes


def _try(recipe: Recipe, steps: Steps, bench: Bench, results: Results, tell: Progress, *, int8: bool) -> None:
    """All variants of one recipe's network that are worth a try."""
    network = steps.network(recipe)
    tell(f"measure the {recipe.network}", 0.0)
    plain = results.add(bench.plain(recipe.network, *network), bench)
    if not int8:
        return
    tell(f"quantize the {recipe.network}", 0.0)
    rounded = results.add(bench.int8(recipe.network, *network), bench)
    if rounded.verdict.passed or not plain.verdict.passed:
        return  # what is lost, if anything, is not lost by rounding
    found = bench.mixed(recipe.network, *network, lambda each: results.judge(each).passed, tell)
    if found is not None and results.add(found, bench).verdict.passed:
        return
    if recipe.learns:
        tell(f"train the {recipe.network} with INT8 in place", 0.0)
        results.add(bench.trained(recipe.network, *steps.quantized(recipe)), bench)


def _write(out: Path, chosen: Candidate, task: Task, profile: Profile) -> None:
    for file in chosen.directory.iterdir():
        shutil.copyfile(file, out / file.name)
    shutil.copyfile(chosen.checkpoint / VOCAB_NAME, out / VOCAB_NAME)
    settings = task.settings.model_copy(
        update={"temperature": task.temperature(chosen.logits), "window": task.window(chosen.tokenizer)}
    )
    if settings.head == "sequence":
        pairs = Pairs.counted(task.corpus, task.dev_texts)
        (out / PAIRS_NAME).write_text(pairs.to_json(), encoding="utf-8")
    texts = task.dev_texts[:_GOLDEN_TEXTS]
    lengths = chosen.tokenizer.encode(texts, settings.max_length).lengths
    # what a head for tokens says of padding means nothing, and need not be the same on another backend
    encoded = chosen.tokenizer.encode(texts, min(lengths) if settings.head == "token" else settings.max_length)
    feeds = {"input_ids": encoded.input_ids, "token_type_ids": encoded.token_type_ids}
    arrays: dict[str, NDArray[np.generic]] = {GOLDEN_INPUT + name: array for name, array in feeds.items()}
    arrays |= {GOLDEN_OUTPUT + name: array for name, array in chosen.load().run(feeds).items()}
    np.savez(out / "golden.npz", **arrays)
    entry = ModelEntry(
        name=MODEL_NAME,
        precision=chosen.precision,
        backend=profile.serve.measured_on,
        golden="golden.npz",
        tolerance=TOLERANCES[chosen.precision],
        reduce_range=chosen.precision == "int8" and profile.serve.writes_7_bits,
    )
    Artifact(kind="text", profile=profile.name, models=(entry,), text=settings).write(out)
