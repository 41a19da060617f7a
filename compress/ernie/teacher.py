"""A teacher's answers to many texts: computed once, kept on disk, read a few at a time.

Each view has a file of its own, the texts' values one behind the other without padding, so that an attention map of
60,000 texts takes what their real lengths need. Files are read and written by offset: memory does not grow with them.
Work that is interrupted goes on at the last batch that reached the disk.

    logits.bin      float32, (labels) a text, or (T, labels) where tokens are labelled
    layer3.bin      float16, (2H): the fourth layer's view of the text
    relations.bin   float16, (2, T, T): the last layer's
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compress.ernie.batches import pad
from compress.ernie.checkpoint import Checkpoint, ErnieConfig
from compress.ernie.export import export_paddle
from compress.ernie.model import build_model
from compress.ernie.views import LOGITS, RELATIONS, ViewedErnie
from devices.errors import CompressionError
from runtime.predictor import RunOptions, load_predictor, model_files

_BATCH = 32
_SAVE_EVERY_S = 20.0
_PROGRESS = "progress.json"


class Answers:
    """Reads what ``answer`` wrote.

    Args:
        directory: Of the files.
        config: The teacher's network.
        lengths: Tokens of each text.
    """

    def __init__(self, directory: Path, config: ErnieConfig, lengths: Sequence[int]) -> None:
        self.directory, self._config = directory, config
        self._lengths = np.array(lengths, np.int64)
        self._open: dict[str, tuple[int, NDArray[np.int64]]] = {}

    def path(self, view: str) -> Path:
        """The file of a view."""
        return self.directory / f"{view}.bin"

    def read(self, view: str, texts: Sequence[int] | NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """A view of some texts, each in the shape that the module's docstring says."""
        if view not in self._open:
            self._open[view] = os.open(self.path(view), os.O_RDONLY), self.offsets(view)
        descriptor, offsets = self._open[view]
        found = []
        for text in texts:
            content = os.pread(descriptor, int(offsets[text + 1] - offsets[text]), int(offsets[text]))
            values = np.frombuffer(content, self.dtype(view)).astype(np.float32)
            found.append(values.reshape(self.shape(view, int(self._lengths[text]))))
        return found

    def shape(self, view: str, length: int) -> tuple[int, ...]:
        """Of one text's values."""
        if view == RELATIONS:
            return (2, length, length)
        if view == LOGITS:
            labels = len(self._config.id2label)
            return (labels,) if self._config.head == "sequence" else (length, labels)
        return (2 * self._config.hidden_size,)

    def dtype(self, view: str) -> type[np.floating[Any]]:
        """Of a file's values."""
        return np.float32 if view == LOGITS else np.float16

    def offsets(self, view: str) -> NDArray[np.int64]:
        """(N + 1,) bytes: where each text's values begin, and where the file ends."""
        sizes = {int(length): int(np.prod(self.shape(view, int(length)))) for length in np.unique(self._lengths)}
        bytes_each = [sizes[int(length)] * np.dtype(self.dtype(view)).itemsize for length in self._lengths]
        return np.concatenate([[0], np.cumsum(bytes_each, dtype=np.int64)])


def answer(
    teacher: Checkpoint,
    rows: Sequence[Sequence[int]],
    layers: Sequence[int],
    scratch: Path,
    *,
    relations: bool,
    progress: Callable[[float], None],
) -> Answers:
    """Ask the teacher what is not yet in ``scratch``; OpenVINO answers several times faster than Paddle.

    Args:
        teacher: The network.
        rows: Token ids of each text.
        layers: Whose view of the text is wanted.
        scratch: Of this teacher and these texts alone; made if missing.
        relations: Whether the last layer's are wanted.
        progress: Called with the share that is done.

    Raises:
        CompressionError: The disk is full, or the teacher's answers are no numbers.
    """
    found = Answers(scratch, teacher.config, [len(row) for row in rows])
    wanted = [LOGITS, *(f"layer{layer}" for layer in layers), *([RELATIONS] if relations else [])]
    missing = [view for view in wanted if not found.path(view).is_file()]
    if missing:
        scratch.mkdir(parents=True, exist_ok=True)
        _ask(teacher, rows, found, missing, scratch, progress)
    progress(1.0)
    return found


def _ask(
    teacher: Checkpoint,
    rows: Sequence[Sequence[int]],
    answers: Answers,
    views: Sequence[str],
    scratch: Path,
    progress: Callable[[float], None],
) -> None:
    """Write the files of ``views``, each under a temporary name until all are whole."""
    model = ViewedErnie(
        build_model(teacher.config, teacher.weights),
        [int(view.removeprefix("layer")) for view in views if view.startswith("layer")],
        relations=RELATIONS in views,
    )
    export_paddle(model, scratch / "model", model.outputs)
    predictor = load_predictor(model_files(scratch / "model", "teacher"), "openvino", RunOptions())
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    partial = {view: answers.path(view).with_suffix(".part") for view in views}
    begun = _begun(scratch, partial)
    offsets = {view: answers.offsets(view) for view in views}
    files = {view: os.open(path, os.O_RDWR | os.O_CREAT, 0o644) for view, path in partial.items()}
    try:
        for view, file in files.items():
            if offsets[view][-1]:
                os.posix_fallocate(file, 0, int(offsets[view][-1]))
        saved = time.monotonic()
        for start in range(begun, len(order), _BATCH):
            part = order[start : start + _BATCH]
            ids = pad([rows[index] for index in part], teacher.config.pad_token_id)
            said = predictor.run({"input_ids": ids, "token_type_ids": np.zeros_like(ids)})
            outputs = dict(zip(model.outputs, (said[spec.name] for spec in predictor.outputs), strict=True))
            for view, file in files.items():
                for text, values in zip(part, outputs[view], strict=True):
                    content = _without_padding(view, values, len(rows[text])).astype(answers.dtype(view))
                    if not np.isfinite(content).all():
                        raise CompressionError(
                            f"The teacher's {view} for text {text + 1} are no numbers.",
                            remedy="Check the teacher: its weights may be damaged, or its activations overflow.",
                        )
                    os.pwrite(file, content.tobytes(), int(offsets[view][text]))
            if time.monotonic() - saved >= _SAVE_EVERY_S:
                _note(scratch, partial, files, start + len(part))
                saved = time.monotonic()
            progress((start + len(part)) / len(order))
    except OSError as error:
        needed = sum(int(each[-1]) for each in offsets.values())
        raise CompressionError(
            f"The teacher's answers cannot be kept in {scratch}, where they take {needed / 1e6:.0f} MB: "
            f"{error.strerror}.",
            remedy="Make room on that disk, or use a smaller pool, and run the command again.",
        ) from error
    finally:
        for file in files.values():
            os.close(file)
    for view, path in partial.items():
        path.replace(answers.path(view))
    (scratch / _PROGRESS).unlink(missing_ok=True)
    shutil.rmtree(scratch / "model")  # as large as the teacher, and soon made again


def _without_padding(view: str, values: NDArray[Any], length: int) -> NDArray[Any]:
    if view == RELATIONS:
        return values[:, :length, :length]
    return values[:length] if values.ndim == 2 else values


def _begun(scratch: Path, partial: dict[str, Path]) -> int:
    """Texts that an interrupted call had answered, if it asked for the same."""
    note = scratch / _PROGRESS
    if not note.is_file() or not all(path.is_file() for path in partial.values()):
        return 0
    content = json.loads(note.read_text())
    return int(content["texts"]) if content["views"] == list(partial) else 0


def _note(scratch: Path, partial: dict[str, Path], files: dict[str, int], texts: int) -> None:
    for file in files.values():
        os.fsync(file)
    draft = scratch / f"{_PROGRESS}.{os.getpid()}"
    draft.write_text(json.dumps({"views": list(partial), "texts": texts}))
    draft.replace(scratch / _PROGRESS)
