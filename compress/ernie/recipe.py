"""The whole way from a big ERNIE to what a branch serves: distil, quantize, measure, and let the gate choose.

    teacher FP32   the reference: its macro-F1 on dev is what may drop by at most ``profile.compress.max_drop``
    student INT8   preferred
    student FP32   next
    teacher INT8   next, and made only where no student passed
    teacher FP32   last, and only within the profile's ``text_latency_ms``

Every figure is measured on the profile's first backend, which will serve.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from compress.distill import DistillSettings, distil, student_config
from compress.ernie.checkpoint import Checkpoint, ErnieConfig, Weights, read_checkpoint
from compress.ernie.export import MODEL_NAME, export_paddle
from compress.ernie.model import build_model
from compress.evaluate import interleaved_medians_ms, macro_f1
from compress.export import to_onnx
from compress.gate import Verdict, and_faster, judge
from compress.quantize import quantize
from compress.report import Row, fingerprint, write_report
from compress.textdata import TextData, check_labels, read_pool, read_texts
from devices.errors import AccuracyDropError, DataError
from devices.profile import Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, ModelEntry, TextSettings
from runtime.predictor import Predictor, RunOptions, load_predictor, model_files
from runtime.text import VOCAB_NAME, label_probabilities
from runtime.tokenizer import ErnieTokenizer

MAX_LENGTH = 256  # tokens; statements are rarely over 100
CALIBRATION_BATCHES = 32
# largest difference of a logit from the golden one: INT8 sums round differently on processors without VNNI
TOLERANCES = {"fp32": 1e-3, "int8": 0.5}
_BATCH = 16
_GOLDEN_TEXTS = 8
_TEMPERATURES = np.geomspace(0.25, 4.0, 65)
Precision = Literal["fp32", "int8"]


@dataclass(frozen=True)
class Candidate:
    """One variant, loaded on the backend that will serve.

    Attributes:
        name: ``teacher`` or ``student``.
        precision: ``fp32`` or ``int8``.
        directory: Its files.
        predictor: Loaded.
        logits: (N, labels) for dev.
        value: Macro-F1 on dev at a probability of 0.5.
    """

    name: str
    precision: Precision
    directory: Path
    predictor: Predictor
    logits: NDArray[np.float64]
    value: float

    @property
    def variant(self) -> str:
        """As in the report: ``student int8``."""
        return f"{self.name} {self.precision}"

    @property
    def size_bytes(self) -> int:
        """Of the model's files."""
        return sum(file.stat().st_size for file in self.directory.iterdir())


def compress_ernie(
    teacher_dir: Path,
    train_file: Path,
    dev_file: Path,
    pool_file: Path | None,
    profile: Profile,
    out: Path,
    *,
    seed: int = 0,
    progress: Callable[[str, float], None] | None = None,
    settings: DistillSettings | None = None,
) -> dict[str, object]:
    """Compress an ERNIE classifier for one profile and write an artifact of kind ``text``.

    Args:
        teacher_dir: A PaddleNLP checkpoint with a label head for whole texts.
        train_file: Labelled texts to learn from.
        dev_file: Labelled texts that every figure comes from; the student never learns from them.
        pool_file: Texts without labels, which the teacher labels; None for none.
        profile: Which backend, whether INT8, how large a student, how much may be lost.
        out: The artifact's directory; made if missing.
        seed: The same seed, data and machine give the same model.
        progress: Called with a stage and the share of it that is done, 0 to 1.
        settings: How long the student learns; None takes ``default_settings``.

    Returns:
        ``{"out", "backend", "chosen", "texts": {"train", "dev", "pool"}, "rows": [...]}``, rows as in report.json.

    Raises:
        CheckpointError: The teacher cannot be used.
        DataError: A data file cannot be used.
        CompressionError: Training, export or quantization failed.
        AccuracyDropError: No variant passed the gate.
        BackendError: The profile's first backend is not installed or refuses the model.
    """
    report = progress or (lambda stage, share: None)
    report("read", 0.0)
    teacher = read_checkpoint(teacher_dir)
    config = teacher.config
    if config.head != "sequence":
        raise DataError(f"{teacher_dir} labels tokens, not texts; distillation is for whole texts.")
    train, dev = read_texts(train_file), read_texts(dev_file)
    check_labels(train, dev, config.labels, multi_label=config.multi_label)
    pool = read_pool(pool_file) if pool_file else []
    tokenizer = teacher.tokenizer()
    text_settings = teacher.settings().model_copy(
        update={"max_length": min(MAX_LENGTH, config.max_position_embeddings)}
    )
    rows = [tokenizer.ids(text, text_settings.max_length) for text in (*train.texts, *pool)]
    student = student_config(config, profile.compress.student)
    student_weights = distil(
        teacher.weights,
        config,
        student,
        rows,
        train.targets(config.labels),
        seed=seed,
        settings=settings,
        progress=report,
    )
    with tempfile.TemporaryDirectory(prefix="edgekit-ernie-") as scratch:
        report("quantize", 0.0)
        bench = _Bench(Path(scratch), profile, tokenizer, text_settings, dev, rows)
        small = bench.variants("student", student, student_weights, int8=profile.serve.int8)
        big = bench.variants("teacher", config, teacher.weights, int8=False)
        report("measure", 0.0)
        candidates = [*small, *big]
        result, chosen = choose(candidates, bench.latencies(candidates), profile)
        if profile.serve.int8 and (chosen is None or chosen.name == "teacher"):
            report("quantize the teacher", 0.0)
            candidates = [*small, *bench.variants("teacher", config, teacher.weights, int8=True)]
            result, chosen = choose(candidates, bench.latencies(candidates), profile)
        if chosen is None:
            raise AccuracyDropError(
                f"No variant kept macro-F1 within {profile.compress.max_drop:g} of the teacher's "
                f"{candidates[-1].value:.4f} on {dev_file}: "
                + "; ".join(f"{row.variant} {row.value:.4f} in {row.latency_ms:.1f} ms" for row in result)
                + "."
            )
        temperature = fit_temperature(chosen.logits, dev.targets(config.labels), text_settings)
        final = text_settings.model_copy(update={"temperature": temperature})
        _write(out, chosen, teacher, final, profile, dev.texts[:_GOLDEN_TEXTS])
    files = {"teacher": teacher_dir, "train": train_file, "dev": dev_file} | ({"pool": pool_file} if pool_file else {})
    write_report(
        out,
        result,
        seed=seed,
        data_fingerprints={name: fingerprint(path) for name, path in files.items()},
        command="edgekit compress ernie "
        + " ".join(f"--{name} {path}" for name, path in files.items())
        + f" --profile {profile.name} --out {out} --seed {seed}",
    )
    report("measure", 1.0)
    return {
        "out": str(out),
        "backend": profile.serve.backends[0],
        "chosen": chosen.variant,
        "texts": {"train": len(train.examples), "dev": len(dev.examples), "pool": len(pool)},
        "rows": json.loads((out / "report.json").read_text(encoding="utf-8"))["rows"],
    }


class _Bench:
    """Makes variants of a network, runs dev through them and takes their time."""

    def __init__(
        self,
        scratch: Path,
        profile: Profile,
        tokenizer: ErnieTokenizer,
        settings: TextSettings,
        dev: TextData,
        rows: Sequence[Sequence[int]],
    ) -> None:
        self._scratch, self._profile, self._tokenizer, self._settings = scratch, profile, tokenizer, settings
        self._texts = dev.texts
        self._truth = dev.targets(settings.labels)
        self._rows = rows
        self._backend = profile.serve.backends[0]

    def variants(self, name: str, config: ErnieConfig, weights: Weights, *, int8: bool) -> list[Candidate]:
        """INT8, where wanted, and FP32 of a network, in the order of preference."""
        found = []
        source, plain, small = (self._scratch / f"{name}-{kind}" for kind in ("paddle", "fp32", "int8"))
        export_paddle(build_model(config, weights), source)
        if int8:
            feeds = calibration_feeds(self._rows, self._tokenizer.pad_id)
            reduce_range = self._profile.serve.reduce_range
            quantize(source, feeds, small, backend=self._backend, reduce_range=reduce_range)
            found.append(self._candidate(name, "int8", small))
        if self._backend == "paddle":
            plain = source
        else:
            to_onnx(source, plain / "model.onnx")
        return [*found, self._candidate(name, "fp32", plain)]

    def latencies(self, candidates: Sequence[Candidate]) -> dict[str, tuple[float, float]]:
        """Median milliseconds of 1x64 and 1x128 tokens, all candidates taking turns."""
        predictors = {candidate.variant: candidate.predictor for candidate in candidates}
        found = []
        for length in (64, 128):
            repeated = np.resize(np.array(self._rows[0], np.int64), (1, min(length, self._settings.max_length)))
            feed = {"input_ids": repeated, "token_type_ids": np.zeros_like(repeated)}
            found.append(interleaved_medians_ms(predictors, [feed], repeats=20))
        return {name: (found[0][name], found[1][name]) for name in predictors}

    def _candidate(self, name: str, precision: Precision, directory: Path) -> Candidate:
        files = model_files(directory, MODEL_NAME, precision=precision)
        predictor = load_predictor(files, self._backend, _options(self._profile))
        logits = np.zeros(self._truth.shape)
        order = sorted(range(len(self._texts)), key=lambda index: len(self._texts[index]))
        for start in range(0, len(order), _BATCH):
            part = order[start : start + _BATCH]
            encoded = self._tokenizer.encode([self._texts[index] for index in part], self._settings.max_length)
            feeds = {"input_ids": encoded.input_ids, "token_type_ids": encoded.token_type_ids}
            (logits[part],) = predictor.run(feeds).values()
        value = macro_f1(decisions(logits, self._settings), self._truth > 0)
        return Candidate(name, precision, directory, predictor, logits, value)


def decisions(logits: NDArray[np.float64], settings: TextSettings) -> NDArray[np.bool_]:
    """(N, labels): every label above 0.5, or the likeliest where a text has one label only."""
    if settings.multi_label:
        return logits > 0
    return logits == logits.max(axis=1, keepdims=True)


def fit_temperature(logits: NDArray[np.float64], targets: NDArray[np.float32], settings: TextSettings) -> float:
    """The temperature under which dev's labels are likeliest (Guo et al., arXiv:1706.04599); moves no decision."""

    def surprise(temperature: float) -> float:
        scaled = settings.model_copy(update={"temperature": temperature})
        probabilities = np.clip(label_probabilities(logits, scaled), 1e-12, 1 - 1e-12)
        said = np.log(probabilities) * targets
        if settings.multi_label:
            said = said + np.log(1 - probabilities) * (1 - targets)
        return -float(said.sum())

    return float(min(_TEMPERATURES, key=surprise))


def calibration_feeds(rows: Sequence[Sequence[int]], pad_id: int) -> list[dict[str, NDArray[np.int64]]]:
    """Batches spread over the texts, short to long, as serving would feed them."""
    order = sorted(rows, key=len)
    count = min(CALIBRATION_BATCHES, max(1, len(order) // _BATCH))
    feeds = []
    for part in np.array_split(np.arange(len(order)), count):
        chosen = [order[index] for index in part[:: max(1, len(part) // _BATCH)][:_BATCH]]
        ids = np.full((len(chosen), max(map(len, chosen))), pad_id, np.int64)
        for row, text in zip(ids, chosen, strict=True):
            row[: len(text)] = text
        feeds.append({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
    return feeds


def choose(
    candidates: Sequence[Candidate], times: Mapping[str, tuple[float, float]], profile: Profile
) -> tuple[list[Row], Candidate | None]:
    """The first candidate that the gate passes and the profile's latency allows, and what the report says of each.

    How fast a text should be is a wish: where nothing that passed fulfils it, the first that passed is still taken,
    unless that is the teacher as it came.

    Args:
        candidates: In the order of preference; the last is the reference.
        times: By variant, milliseconds for 64 and for 128 tokens.
        profile: Its limits.

    Returns:
        Rows with the reference first, and the choice; None where nothing passes.
    """
    reference = candidates[-1]
    limit = profile.compress.text_latency_ms
    verdicts = {each.variant: _verdict(each, candidates, times, profile) for each in candidates}
    passed = [each for each in candidates if verdicts[each.variant].passed]
    in_time = [each for each in passed if limit is None or times[each.variant][1] <= limit]
    smaller = [each for each in passed if each is not reference]
    chosen = next(iter(in_time or smaller), None)
    rows = []
    for candidate in reversed(candidates):
        short_ms, long_ms = times[candidate.variant]
        sentences = ["The reference."] if candidate is reference else [verdicts[candidate.variant].sentence]
        if limit is not None and long_ms > limit:
            sentences.append(f"Slower than the {limit:g} ms that the profile wishes for.")
        sentences.append(f"64 tokens {short_ms:.1f} ms, 128 tokens {long_ms:.1f} ms.")
        rows.append(
            Row(
                MODEL_NAME,
                candidate.variant,
                "macro-F1",
                candidate.value,
                True,
                short_ms,
                candidate.size_bytes,
                candidate.predictor.backend,
                " ".join(sentences),
                chosen=candidate is chosen,
            )
        )
    return rows, chosen


def _verdict(
    candidate: Candidate,
    candidates: Sequence[Candidate],
    times: Mapping[str, tuple[float, float]],
    profile: Profile,
) -> Verdict:
    verdict = judge(candidates[-1].value, candidate.value, max_drop=profile.compress.max_drop, higher_is_better=True)
    if candidate.precision == "fp32":
        return verdict
    plain_ms = times[f"{candidate.name} fp32"][1]
    return and_faster(verdict, reference_ms=plain_ms, candidate_ms=times[candidate.variant][1])


def _write(
    out: Path, chosen: Candidate, teacher: Checkpoint, settings: TextSettings, profile: Profile, texts: Sequence[str]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in ("artifact.json", "model.onnx", "inference.pdmodel", "inference.pdiparams"):
        (out / name).unlink(missing_ok=True)  # of an earlier run; artifact.json comes back last
    for file in chosen.directory.iterdir():
        shutil.copyfile(file, out / file.name)
    (out / VOCAB_NAME).write_bytes(teacher.vocab)
    encoded = teacher.tokenizer().encode(texts, settings.max_length)
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


def _options(profile: Profile) -> RunOptions:
    return RunOptions(threads=profile.serve.threads, parallel=profile.serve.parallel)
