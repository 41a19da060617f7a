"""A recipe's steps, from checkpoint to smaller checkpoint, each kept as a stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.ernie.checkpoint import ErnieConfig, read_checkpoint, write_checkpoint
from compress.ernie.distill import DistillSettings, default_settings, distil, student_config
from compress.ernie.estimate import serving_seconds, training_seconds
from compress.ernie.measure import LIMITS_NAME
from compress.ernie.qat import train_quantized
from compress.ernie.search import NARROW_SHARE, Recipe, Step, larger_size
from compress.ernie.task import Task
from compress.ernie.vocabulary import prune_vocabulary
from compress.ernie.width import prune_width
from compress.stages import Stages
from devices.profile import Profile

Progress = Callable[[str, float], None]
_TOKENIZING_S = 3e-6  # a token


@dataclass(frozen=True)
class Stage:
    """One step of a recipe: what tells its result apart, how it is made, and roughly how long that takes."""

    name: str
    inputs: Mapping[str, Any]
    make: Callable[[Path, Path], None]
    seconds: Callable[[float], float]  # given the machine's operations a second


class Steps:
    """Makes the networks of recipes.

    Args:
        teacher: A checkpoint's directory.
        origin: What tells the teacher apart: its fingerprint.
        config: The teacher's network.
        task: What is to be learned.
        profile: Says how large a student, and how many bits a weight.
        stages: Where networks are kept.
        data: Fingerprints of the task's files.
        seed: The same seed, data and machine give the same networks.
        settings: How long students learn; None takes what suits them.
        progress: Called with a step and the share of it that is done.
    """

    def __init__(
        self,
        teacher: Path,
        origin: str,
        config: ErnieConfig,
        task: Task,
        profile: Profile,
        stages: Stages,
        data: Mapping[str, str],
        *,
        seed: int,
        settings: DistillSettings | None,
        progress: Progress,
    ) -> None:
        self._teacher, self._origin, self._config = teacher, origin, config
        self._task, self._size = task, profile.compress.student
        self._weight_bits = 7 if profile.serve.reduce_range else 8
        self._stages, self._data, self._seed = stages, dict(data), seed
        self._settings, self._report = settings, progress

    def network(self, recipe: Recipe) -> tuple[Path, str]:
        """The checkpoint that ``recipe`` ends in, and what tells it apart."""
        return self._followed(recipe.steps)

    def _followed(self, steps: Sequence[Step]) -> tuple[Path, str]:
        directory, origin = self._teacher, self._origin
        for step in steps:
            stage = self._stage(step, directory, origin)
            directory = self._stages.run(stage.name, stage.inputs, stage.make)
            origin = directory.name
        return directory, origin

    def plan(self, recipe: Recipe) -> list[tuple[Path, Stage]]:
        """The stages of ``recipe`` and where each is or will be; nothing is made."""
        found = []
        directory, origin = self._teacher, self._origin
        for step in recipe.steps:
            stage = self._stage(step, directory, origin)
            directory = self._stages.path(stage.name, stage.inputs)
            origin = directory.name
            found.append((directory, stage))
        return found

    def quantized(self, recipe: Recipe) -> tuple[Path, str]:
        """The network of ``recipe``, trained once more with INT8 roundings in place, and what tells it apart."""
        student_dir, origin = self.network(recipe)
        teacher_dir, teacher_origin = self._followed(recipe.steps[:1])

        def make(result: Path, scratch: Path) -> None:
            student, teacher = read_checkpoint(student_dir), read_checkpoint(teacher_dir)
            tokenizer = student.tokenizer()
            trained, limits = train_quantized(
                *(student, teacher, self._task.rows(tokenizer), self._task.targets(tokenizer)),
                seed=self._seed,
                scratch=scratch,
                answers=self._stages.shared("answers", {"checkpoint": teacher_origin, "data": self._data}),
                weight_bits=self._weight_bits,
                progress=self._report,
            )
            write_checkpoint(result, trained)
            (result / LIMITS_NAME).write_text(json.dumps(limits))

        inputs = {"checkpoint": origin, "teacher": teacher_origin, "data": self._data, "seed": self._seed}
        directory = self._stages.run("qat", inputs | {"weight_bits": self._weight_bits}, make)
        return directory, directory.name

    def unfit(self, recipe: Recipe) -> str | None:
        """Why ``recipe`` cannot be taken with this teacher; None if it can."""
        if "distil larger" in recipe.steps and larger_size(self._config, self._size) is None:
            return f"there is no size between {self._size} and the teacher"
        return None

    def config(self, recipe: Recipe) -> ErnieConfig:
        """About the network that ``recipe`` ends in, for reckoning its time."""
        if "distil larger" in recipe.steps:
            return student_config(self._config, larger_size(self._config, self._size) or self._size)
        return student_config(self._config, self._size) if "distil" in recipe.steps else self._config

    def _stage(self, step: Step, source: Path, origin: str) -> Stage:
        inputs = {"checkpoint": origin, "data": self._data}
        if step == "vocabulary":
            return self._vocabulary(source, inputs)
        if step == "narrow":
            return self._narrow(source, inputs)
        return self._distil(source, inputs, larger=step == "distil larger")

    def _vocabulary(self, source: Path, inputs: Mapping[str, Any]) -> Stage:
        def make(result: Path, _: Path) -> None:
            self._report("vocabulary", 0.0)
            longest = self._task.settings.max_length
            write_checkpoint(result, prune_vocabulary(read_checkpoint(source), self._task.corpus, max_length=longest))

        return Stage("vocabulary", inputs, make, lambda _: 2 + self._task.tokens() * _TOKENIZING_S)

    def _distil(self, source: Path, inputs: Mapping[str, Any], *, larger: bool) -> Stage:
        size = (larger and larger_size(self._config, self._size)) or self._size
        student = student_config(self._config, size)
        settings = self._settings or default_settings(self._config, student)

        def make(result: Path, scratch: Path) -> None:
            teacher = read_checkpoint(source)
            tokenizer = teacher.tokenizer()
            small = distil(
                teacher,
                student_config(teacher.config, size),
                self._task.rows(tokenizer),
                self._task.targets(tokenizer),
                seed=self._seed,
                scratch=scratch,
                answers=self._stages.shared("answers", inputs),
                settings=settings,
                progress=self._report,
            )
            write_checkpoint(result, small)

        def seconds(flops: float) -> float:
            tokens = self._task.tokens()
            learning = training_seconds(student, settings.epochs * tokens, flops)
            return serving_seconds(self._config, tokens, flops) + learning

        chosen = {"size": size, "settings": settings, "seed": self._seed}
        return Stage("distil", {**inputs, **chosen}, make, seconds)

    def _narrow(self, source: Path, inputs: Mapping[str, Any]) -> Stage:
        def make(result: Path, scratch: Path) -> None:
            student = read_checkpoint(source)
            tokenizer = student.tokenizer()
            narrow = prune_width(
                student,
                self._task.rows(tokenizer),
                self._task.targets(tokenizer),
                share=NARROW_SHARE,
                seed=self._seed,
                scratch=scratch,
                progress=self._report,
            )
            write_checkpoint(result, narrow)

        student = student_config(self._config, self._size)
        chosen = {"share": NARROW_SHARE, "seed": self._seed}
        return Stage(
            *("narrow", {**inputs, **chosen}, make),
            lambda flops: training_seconds(student, self._task.tokens(), flops),
        )
