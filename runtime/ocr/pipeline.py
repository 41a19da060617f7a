"""A page in, its lines out: det, cls, rec."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from devices.errors import ModelError
from runtime.admission import Admission
from runtime.artifact import OcrSettings
from runtime.budget import UNLIMITED, Budget
from runtime.ocr.detect import boxes_from_map
from runtime.ocr.line import Line, box_of, in_reading_order
from runtime.ocr.models import OcrModels, complete_characters
from runtime.ocr.preprocess import (
    cut_line,
    det_room,
    det_size,
    det_tensor,
    line_tensor,
    line_width,
    reading_box,
    upright,
)
from runtime.ocr.recognize import BATCH, Batch, batch_shapes, ctc_decode, group_by_width
from runtime.predictor import Backend, Predictor, RunOptions, load_predictor

_CLS_HEIGHT, _CLS_WIDTH = 48, 192  # PP-OCR mobile cls v2.0
_SURE = 0.9  # a confidence of rec's; of lines on their head hardly any is read so well
# height and width: an A4 scan at 180 dpi, a card (ISO/IEC 7810 ID-1) at 600 dpi, photos upright and across
USUAL_PAGES = ((2105, 1488), (1275, 2022), (4000, 3000), (3000, 4000))
_SLIVER = 3  # pixels of the page; nobody can read lower lines
_MAX_SIDE = 16_000  # pixels; OpenCV warps up to 32,767
_ANY_NUMBER = 1 << 30


@dataclass(frozen=True, eq=False)
class OcrPipeline:
    """Loaded models and how to use them. Nothing changes by reading, so threads may share one.

    Attributes:
        det: Finds lines.
        rec: Reads them.
        cls: Tells those that stand on their head; without it they are read as they are.
        characters: One for each class of rec but the blank.
        settings: Sizes and thresholds.
        turns: Pages are read in turns: what belongs to one runs on all cores. Two at once take those from each other
            where a model waits for both, and make it change its shape with every run: 6 % more time for everybody.
    """

    det: Predictor
    rec: Predictor
    cls: Predictor | None
    characters: tuple[str, ...]
    settings: OcrSettings
    turns: Admission

    def read(self, image: NDArray[np.uint8], budget: Budget = UNLIMITED) -> tuple[Line, ...]:
        """Read a page.

        Args:
            image: (H, W, 3) uint8, BGR.
            budget: What the request may still spend; asked between the models.

        Returns:
            Lines in reading order, boxes within the page; none for an empty page.

        Raises:
            BackendError: A model failed.
            DeadlineError: The budget's time was up.
            ClientGoneError: The budget's client went away.
        """
        with self.turns.place(budget):
            return self._read(image, budget)

    def _read(self, image: NDArray[np.uint8], budget: Budget) -> tuple[Line, ...]:
        page = _bounded(image)
        with budget.stage("det"):
            boxes = [reading_box(box) for box in self.detect(page)]
        with budget.stage("rec"):
            crops = [cut_line(page, box) for box in boxes]
            readings = self.recognize(crops, budget)
        with budget.stage("cls"):
            for index, reading in self._turned_readings(crops, readings, budget).items():
                boxes[index], readings[index] = np.roll(boxes[index], 2, axis=0), reading
        height, width = image.shape[:2]
        scale, last = (width / page.shape[1], height / page.shape[0]), (width, height)
        lines = [
            Line(text, confidence, box_of((box * scale).clip(0, last)))
            for box, (text, confidence) in zip(boxes, readings, strict=True)
            if text.strip() and confidence >= self.settings.drop_confidence
        ]
        return in_reading_order(lines)

    def detect(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Find lines.

        Args:
            image: (H, W, 3) uint8, BGR.

        Returns:
            (N, 4, 2) corners in pixels, clockwise from the upper left; they may reach over the page's edges.
            Slivers of lines that the page's edge cuts off are left out.
        """
        height, width = image.shape[:2]
        limits = self.settings
        size = det_size(height, width, limit_side=limits.det_limit_side, min_side=limits.det_min_side)
        probabilities = _run(self.det, det_tensor(image, size, det_room(size)))[0, 0, : size[0], : size[1]]
        scale = np.array((width / size[1], height / size[0]), np.float32)
        boxes = np.multiply(boxes_from_map(probabilities, limits), scale)
        inside = boxes.clip(0, np.array((width, height), np.float32))
        across, down = (np.linalg.norm(inside[:, corner] - inside[:, 0], axis=1) for corner in (1, 3))
        return np.asarray(boxes[np.minimum(across, down) > _SLIVER], np.float32)

    def orient(self, crops: Sequence[NDArray[np.uint8]]) -> list[tuple[int, float]]:
        """Tell which lines stand on their head.

        Args:
            crops: (H, W, 3) uint8, BGR, one line each.

        Returns:
            For each crop 180 or 0, the degrees to turn it by, and cls's confidence in its answer. An answer of 180
            below ``cls_threshold`` comes out as 0. Without cls all stay as they are.
        """
        if self.cls is None:
            return [(0, 1.0) for _ in crops]
        answers: list[tuple[int, float]] = []
        for start in range(0, len(crops), BATCH):
            batch = [upright(crop) for crop in crops[start : start + BATCH]]
            tensor = line_tensor(batch, _CLS_HEIGHT, _CLS_WIDTH, room=BATCH)
            for row in _run(self.cls, tensor)[: len(batch)]:  # (2,): upright, on its head
                turned = row[1] > row[0] and row[1] >= self.settings.cls_threshold
                answers.append((180 if turned else 0, float(row.max())))
        return answers

    def recognize(self, crops: Sequence[NDArray[np.uint8]], budget: Budget = UNLIMITED) -> list[tuple[str, float]]:
        """Read crops of one line each.

        While rec reads a batch, another thread makes the next one's tensor and looks up what the last one says: rec
        leaves cores idle whenever a batch has another shape than the one before. It never works further ahead, so that
        a page of a thousand lines takes no more memory.

        Args:
            crops: (H, W, 3) uint8, BGR, of any size; one that is much higher than wide is turned first.
            budget: Asked before every batch.

        Returns:
            Text and confidence of each, in the same order.
        """
        height = self.settings.rec_height
        lines = [upright(crop) for crop in crops]
        batches = group_by_width([line_width(line, height) for line in lines])

        def tensor_of(batch: Batch) -> NDArray[np.float32]:
            return line_tensor([lines[member] for member in batch.members], height, batch.width, room=batch.room)

        answers: list[Future[list[tuple[str, float]]]] = []
        with ThreadPoolExecutor(1, "ocr") as beside:
            coming = [beside.submit(tensor_of, batch) for batch in batches[:1]]
            for number, batch in enumerate(batches, start=1):
                budget.check()
                tensor = coming.pop().result()
                coming += [beside.submit(tensor_of, following) for following in batches[number : number + 1]]
                probabilities = _run(self.rec, tensor)[: len(batch.members)]
                answers.append(beside.submit(ctc_decode, probabilities, self.characters))
        results: list[tuple[str, float]] = [("", 0.0)] * len(lines)
        for batch, answer in zip(batches, answers, strict=True):
            for member, (text, confidence) in zip(batch.members, answer.result(), strict=True):
                results[member] = text.strip(), confidence  # INT8 sees spaces in the empty room behind a line
        return results

    def warm_up(self, pages: Sequence[tuple[int, int]] = USUAL_PAGES) -> None:
        """Run every shape of rec and cls, and det at the sizes of ``pages``, by default of a scan, a card and photos.

        The first run of a shape is slow: backends prepare themselves for each.

        Args:
            pages: Height and width in pixels.

        Raises:
            BackendError: A model failed.
        """
        limits = self.settings
        for height, width in pages:
            size = det_size(height, width, limit_side=limits.det_limit_side, min_side=limits.det_min_side)
            _run(self.det, np.zeros((1, 3, *det_room(size)), np.float32))
        for room, width in batch_shapes():
            _run(self.rec, np.zeros((room, 3, limits.rec_height, width), np.float32))
        if self.cls is not None:
            _run(self.cls, np.zeros((BATCH, 3, _CLS_HEIGHT, _CLS_WIDTH), np.float32))

    def _turned_readings(
        self, crops: Sequence[NDArray[np.uint8]], readings: Sequence[tuple[str, float]], budget: Budget
    ) -> dict[int, tuple[str, float]]:
        """What lines say that stand on their head, by their place.

        A line on its head is hardly ever read with confidence, so cls is asked about the doubtful ones only; where it
        finds one, the page may lie that way, and it is asked about all.
        """
        doubtful = [index for index, (_, confidence) in enumerate(readings) if confidence < _SURE]
        turned = self._on_their_head(crops, doubtful)
        if turned:
            turned += self._on_their_head(crops, sorted(set(range(len(crops))).difference(doubtful)))
            lengths = [max(crop.shape[:2]) for crop in crops]
            if 2 * sum(lengths[index] for index in turned) > sum(lengths):
                turned = list(range(len(crops)))  # the page lies on its head; of digits alone cls cannot tell
        again = self.recognize([_turned(crops[index]) for index in turned], budget)
        return {index: reading for index, reading in zip(turned, again, strict=True) if reading[1] > readings[index][1]}

    def _on_their_head(self, crops: Sequence[NDArray[np.uint8]], places: Sequence[int]) -> list[int]:
        answers = self.orient([crops[place] for place in places])
        return [place for place, (turn, _) in zip(places, answers, strict=True) if turn]


def load_ocr(models: OcrModels, backend: Backend, options: RunOptions | None = None) -> OcrPipeline:
    """Load a model set into one backend. May take seconds.

    Raises:
        ModelError: The dictionary does not fit rec.
        BackendError: The backend is not installed, or cannot read or run a model.
    """
    options = options or RunOptions()
    det = load_predictor(models.det, backend, replace(options, few_shapes=False))
    rec = load_predictor(models.rec, backend, options)
    cls = load_predictor(models.cls, backend, options) if models.cls else None
    return assemble(det, rec, cls, models.characters, models.settings, pages=options.parallel)


def assemble(
    det: Predictor,
    rec: Predictor,
    cls: Predictor | None,
    characters: tuple[str, ...],
    settings: OcrSettings,
    *,
    pages: int = 1,
) -> OcrPipeline:
    """A pipeline of loaded models; ``characters`` as the dictionary lists them, ``pages`` may be read at once.

    Raises:
        ModelError: The dictionary does not fit rec, or a model has more than one input.
        BackendError: rec could not run.
    """
    for predictor in filter(None, (det, rec, cls)):
        if len(predictor.inputs) != 1:
            raise ModelError(f"Model {predictor.name} has {len(predictor.inputs)} inputs; PP-OCR's have one.")
    # some backends know the number of classes only after a run
    blank = np.zeros((1, 3, settings.rec_height, 320), np.float32)
    completed = complete_characters(characters, _run(rec, blank).shape[-1])
    return OcrPipeline(det, rec, cls, completed, settings, Admission(pages, _ANY_NUMBER))


def _run(predictor: Predictor, tensor: NDArray[np.float32]) -> NDArray[np.float32]:
    output = predictor.run({predictor.inputs[0].name: tensor})[predictor.outputs[0].name]
    return output.astype(np.float32, copy=False)


def _bounded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = _MAX_SIDE / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _turned(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return crop[::-1, ::-1]
