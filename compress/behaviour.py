"""The behaviour model: trained on labelled account histories, exported, checked on the backend that will serve it.

The network (``compress.behaviour_network``) has about twenty thousand numbers: INT8 would save nothing, so none is
tried.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.artifact_dir import fresh_directory
from compress.behaviour_network import BehaviourNetwork, quantile_bins, save_network
from compress.evaluate import interleaved_medians_ms
from compress.export import to_onnx
from compress.gate import judge
from compress.histories import FloatArray, History, read_both_labels
from compress.paddle_env import paddle
from compress.report import Row, fingerprint, write_report
from compress.source import require_backend
from devices.errors import CompressionError, ParityError
from devices.profile import Backend, Profile
from runtime.artifact import GOLDEN_INPUT, GOLDEN_OUTPUT, Artifact, BehaviourSettings, ModelEntry
from runtime.behaviour import (
    DEFAULT_MAX_TRANSACTIONS,
    FEATURES,
    INPUT_FEATURES,
    INPUT_MASK,
    OUTPUT_ATTENTION,
    OUTPUT_PROBABILITY,
    standardize,
)
from runtime.choice import Golden, check_parity
from runtime.predictor import Predictor, RunOptions, load_predictor, model_files

MODEL_NAME = "behaviour"
EPOCHS = 5
BATCH = 32
LEARNING_RATE = 4e-3
WEIGHT_DECAY = 0.1
PARITY = 1e-4  # largest difference allowed between the backends and the trained network

_MODEL_FILES = ("model.onnx", "inference.pdmodel", "inference.pdiparams")
_GOLDEN_HISTORIES = 8
_LATENCY_RUNS = 30
# A feature that never changed in training says nothing; divided by this it stays silent when it does change.
_SILENT_STD = 1e6

Progress = Callable[[str, float], None]


def compress_behaviour(
    train_file: Path,
    dev_file: Path,
    profile: Profile,
    out: Path,
    progress: Progress | None = None,
    *,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> dict[str, object]:
    """Train, export, check and write an artifact of kind ``behaviour``.

    Args:
        train_file: Histories to learn from.
        dev_file: Histories that the reported figures come from; training never sees them.
        profile: Whose first backend will serve. For ``paddle`` the artifact holds ``.pdmodel``, otherwise ONNX.
        out: The artifact's directory: missing, empty, or an earlier artifact.
        progress: Called with a stage and the share of it that is done, 0 to 1.
        seed: Same seed, data and machine, same model.
        epochs: Passes over the training data.

    Returns:
        ``{"out", "backend", "histories": {"train", "dev"}, "rows": [...]}``, rows as in report.json.

    Raises:
        DataError: A file cannot be read, a line is malformed, or a label is missing from one of the files.
        CompressionError: The exported model differs from the trained one.
        BackendError: The profile's first backend is not installed or refuses the model.
        ArtifactError: ``out`` cannot be written.
    """
    report = progress or (lambda stage, share: None)
    backend = profile.serve.measured_on
    require_backend(backend)
    with fresh_directory(out) as draft:
        report("read histories", 0.0)
        train_set, dev_set = read_both_labels(train_file), read_both_labels(dev_file)
        network, settings = train(train_set, seed=seed, epochs=epochs, progress=lambda share: report("train", share))

        report("export", 0.0)
        golden = _golden(network, [standardize(each.rows, settings) for each in dev_set[:_GOLDEN_HISTORIES]])
        with tempfile.TemporaryDirectory(prefix="edgekit-behaviour-") as scratch:
            paddle_dir = Path(scratch)
            save_network(network, paddle_dir)
            reference = _checked_predictor(paddle_dir, "paddle", golden)
            sizes: dict[Backend, int] = {"paddle": _size(paddle_dir)}
            if backend == "paddle":
                for name in _MODEL_FILES[1:]:
                    (draft / name).write_bytes((paddle_dir / name).read_bytes())
                candidate = reference
            else:
                to_onnx(paddle_dir, draft / "model.onnx")
                candidate = _checked_predictor(draft, backend, golden)
                sizes[backend] = _size(draft)

        report("measure", 0.0)
        rows = _measure(reference, candidate, dev_set, settings, sizes, profile)
        arrays = {GOLDEN_INPUT + name: array for name, array in golden.inputs.items()}
        arrays |= {GOLDEN_OUTPUT + name: array for name, array in golden.outputs.items()}
        np.savez(draft / "golden.npz", **arrays)
        write_report(
            draft,
            rows,
            seed=seed,
            data_fingerprints={"train": fingerprint(train_file), "dev": fingerprint(dev_file)},
            command=(
                f"edgekit compress behaviour --train {train_file} --dev {dev_file} --profile {profile.name} "
                f"--out {out} --seed {seed}"
            ),
        )
        entry = ModelEntry(name=MODEL_NAME, backend=backend, golden="golden.npz")
        Artifact(kind="behaviour", profile=profile.name, models=(entry,), behaviour=settings).write(draft)
        written = json.loads((draft / "report.json").read_text(encoding="utf-8"))
        report("measure", 1.0)
    return {
        "out": str(out),
        "backend": backend,
        "histories": {"train": len(train_set), "dev": len(dev_set)},
        "rows": written["rows"],
    }


def train(
    histories: Sequence[History],
    *,
    seed: int,
    epochs: int,
    progress: Callable[[float], None],
    max_transactions: int = DEFAULT_MAX_TRANSACTIONS,
) -> tuple[BehaviourNetwork, BehaviourSettings]:
    """Train a network from scratch: AdamW, the learning rate falling to zero along a cosine.

    Everything that is known is learnt from in one pass: the network judges an account as of each transaction, and each
    known label counts. Longer histories than ``max_transactions`` are cut into pieces at places that change from epoch
    to epoch. Pieces of like length share a batch, so that little is computed on padding. Paddle's own threads in this
    process are set to one.

    Args:
        histories: With both labels among them.
        seed: Of initial weights and order.
        epochs: Passes over ``histories``.
        progress: Called with the share that is done, 0 to 1.
        max_transactions: So many are looked at, here and where the model serves.

    Returns:
        The network in evaluation mode, and the settings that its features are standardized with.
    """
    settings = _fit_settings(histories, max_transactions)
    inputs = [standardize(each.rows, settings) for each in histories]
    rng = np.random.default_rng(seed)
    paddle.seed(seed)
    # The steps of so narrow an LSTM are too short to share: with a second thread training took as long on an idle
    # machine, and three to five times as long on a busy one. There is no getter, so the process stays at one.
    paddle.base.core.set_num_threads(1)
    network = BehaviourNetwork(quantile_bins(np.concatenate(inputs)))
    plan = [list(_batches(_pieces(histories, max_transactions, rng), rng)) for _ in range(epochs)]
    steps = sum(map(len, plan))
    rate = paddle.optimizer.lr.CosineAnnealingDecay(LEARNING_RATE, T_max=steps)
    optimizer = paddle.optimizer.AdamW(
        rate,
        parameters=network.parameters(),
        weight_decay=WEIGHT_DECAY,
        grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )
    for done, batch in enumerate((batch for epoch in plan for batch in epoch), 1):
        rows, _mask = pad([inputs[piece.history][piece.start : piece.end] for piece in batch])
        labels, known = _pad_labels([histories[piece.history].labels[piece.start : piece.end] for piece in batch])
        loss = paddle.nn.functional.binary_cross_entropy_with_logits(
            network.logits(paddle.to_tensor(rows)),
            paddle.to_tensor(labels),
            weight=paddle.to_tensor(known / known.sum()),
            reduction="sum",
        )
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        rate.step()
        progress(done / steps)
    network.eval()
    return network, settings


@dataclass(frozen=True)
class _Piece:
    """Transactions ``start`` to ``end`` of the history of that number."""

    history: int
    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def pad(histories: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Stack histories of different length: features (N, T, ``FEATURES``), zeros at the end, and mask (N, T)."""
    longest = max(len(rows) for rows in histories)
    stacked = np.zeros((len(histories), longest, FEATURES), np.float32)
    mask = np.zeros((len(histories), longest), np.float32)
    for row, history in enumerate(histories):
        stacked[row, : len(history)] = history
        mask[row, : len(history)] = 1
    return stacked, mask


def roc_auc(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Area under the ROC curve: how often a 1 scores above a 0, ties counting half (Mann and Whitney 1947)."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    ones = int(labels.sum())
    zeros = len(labels) - ones
    return float((rank[labels == 1].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def average_precision(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    """Precision at each distinct threshold, weighted by the recall that it adds."""
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(labels[order])
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    precision = hits[last_of_tie] / (np.flatnonzero(last_of_tie) + 1)
    return float((precision * np.diff(hits[last_of_tie], prepend=0)).sum() / hits[-1])


def _fit_settings(histories: Sequence[History], max_transactions: int) -> BehaviourSettings:
    rows = np.concatenate([each.rows for each in histories]).astype(np.float64)
    std = rows.std(0)
    return BehaviourSettings(
        max_transactions=max_transactions,
        mean=tuple(float(value) for value in rows.mean(0)),
        std=tuple(float(value) if value > 1e-6 else _SILENT_STD for value in std),
    )


def _pieces(histories: Sequence[History], longest: int, rng: np.random.Generator) -> list[_Piece]:
    """All of every history in pieces, without those of which nothing is known; the cuts are a matter of chance."""
    pieces = []
    for number, history in enumerate(histories):
        count = len(history.rows)
        first = 0 if count <= longest else int(rng.integers(1, longest + 1))
        cuts = sorted({0, *range(first, count, longest), count})
        for start, end in itertools.pairwise(cuts):
            if not np.isnan(history.labels[start:end]).all():
                pieces.append(_Piece(number, start, end))
    return pieces


def _batches(pieces: Sequence[_Piece], rng: np.random.Generator) -> Iterator[list[_Piece]]:
    """Batches of like length: sorted within runs of some batches, so that each epoch mixes them anew."""
    order = rng.permutation(len(pieces))
    run = BATCH * 8
    batches = []
    for start in range(0, len(order), run):
        near = sorted(
            (pieces[index] for index in order[start : start + run]), key=lambda piece: piece.end - piece.start
        )
        batches += [near[i : i + BATCH] for i in range(0, len(near), BATCH)]
    for index in rng.permutation(len(batches)):
        yield batches[index]


def _pad_labels(labels: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Stack labels: (N, T) with 0 where nothing is known, and (N, T) with 1 where something is."""
    stacked = np.full((len(labels), max(map(len, labels))), np.nan, np.float32)
    for row, each in enumerate(labels):
        stacked[row, : len(each)] = each
    return np.nan_to_num(stacked), (~np.isnan(stacked)).astype(np.float32)


def _golden(network: BehaviourNetwork, histories: Sequence[FloatArray]) -> Golden:
    feeds = _feeds(histories)
    with paddle.no_grad():
        probability, attention = network(**{name: paddle.to_tensor(array) for name, array in feeds.items()})
    return Golden(
        feeds,
        {OUTPUT_PROBABILITY: probability.numpy(), OUTPUT_ATTENTION: attention.numpy()},
    )


def _checked_predictor(directory: Path, backend: Backend, golden: Golden) -> Predictor:
    predictor = load_predictor(model_files(directory, MODEL_NAME), backend, RunOptions())
    try:
        check_parity(predictor, golden, tolerance=PARITY)
    except ParityError as error:
        raise CompressionError(
            f"The exported behaviour model is not the trained one: {error.problem}",
            remedy="Name a profile with another first backend, and report this with the versions installed.",
        ) from error
    return predictor


def _size(directory: Path) -> int:
    return sum((directory / name).stat().st_size for name in _MODEL_FILES if (directory / name).is_file())


def _measure(
    reference: Predictor,
    candidate: Predictor,
    dev_set: Sequence[History],
    settings: BehaviourSettings,
    sizes: Mapping[Backend, int],
    profile: Profile,
) -> list[Row]:
    """Rows for the Paddle reference and for what will serve, AUC and average precision each, on ``dev_set``."""
    labels = np.array([each.label for each in dev_set])
    inputs = [standardize(each.rows, settings) for each in dev_set]
    variants = [reference] if candidate is reference else [reference, candidate]
    scores = {each.backend: _scores(each, inputs) for each in variants}
    longest = max(inputs, key=len)
    latency = interleaved_medians_ms(
        {each.backend: each for each in variants}, [_feeds([longest])], repeats=_LATENCY_RUNS
    )
    rows = []
    for metric, measure in (("auc", roc_auc), ("average_precision", average_precision)):
        before = measure(labels, scores[reference.backend])
        for each in variants:
            value = measure(labels, scores[each.backend])
            verdict = judge(before, value, max_drop=profile.compress.max_drop, higher_is_better=True)
            rows.append(
                Row(
                    model=MODEL_NAME,
                    variant="fp32",
                    metric=metric,
                    value=value,
                    higher_is_better=True,
                    latency_ms=latency[each.backend],
                    size_bytes=sizes[each.backend],
                    backend=each.backend,
                    verdict=verdict.sentence if each is candidate else "The reference.",
                    chosen=each is candidate,
                )
            )
    return rows


def _scores(predictor: Predictor, inputs: Sequence[FloatArray]) -> NDArray[np.float64]:
    """The probability of each history, in the order of ``inputs``; those of like length run together."""
    order = sorted(range(len(inputs)), key=lambda index: len(inputs[index]))
    scores = np.zeros(len(inputs))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        scores[batch] = predictor.run(_feeds([inputs[index] for index in batch]))[OUTPUT_PROBABILITY]
    return scores


def _feeds(inputs: Sequence[FloatArray]) -> dict[str, NDArray[np.generic]]:
    rows, mask = pad(inputs)
    return {INPUT_FEATURES: rows, INPUT_MASK: mask}
