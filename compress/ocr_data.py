"""Pictures and their truth for compressing PP-OCR, and the tensors that reading them feeds to each model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from compress.evaluate import Polygon
from devices.errors import CalibrationError, DataError, ImageError
from runtime.images import load_image
from runtime.ocr.pipeline import OcrPipeline
from runtime.ocr.preprocess import cut_line, reading_box
from runtime.predictor import Backend, Predictor, TensorSpec

Image = NDArray[np.uint8]
LABEL_NAME = "Label.txt"
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
_MAX_DAMAGED = 0.1  # share of calibration pictures that may be unreadable
_IGNORED_TEXT = "###"  # PaddleOCR's mark for a region that counts neither way


@dataclass(frozen=True, eq=False)
class Pictures:
    """Calibration pictures.

    Attributes:
        images: Each (H, W, 3) uint8, BGR.
        damaged: Names of files that could not be decoded.
    """

    images: tuple[Image, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TruePage:
    """One picture and what is written on it.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        polygons: One for each line, corners from where the line begins, clockwise.
        texts: As many; without spaces, as PaddleOCR's metric compares.
        ignored: Regions that count neither way.
    """

    image: Image
    polygons: tuple[Polygon, ...]
    texts: tuple[str, ...]
    ignored: tuple[Polygon, ...] = ()


def read_pictures(directory: Path) -> Pictures:
    """Decode every picture in ``directory``, by name.

    Raises:
        CalibrationError: There is none, or more than a tenth of them is damaged.
    """
    files = sorted(each for each in directory.glob("*") if each.suffix.lower() in _SUFFIXES)
    images: list[Image] = []
    damaged: list[str] = []
    for file in files:
        try:
            images.append(load_image(file.read_bytes()))
        except ImageError:
            damaged.append(file.name)
    if not files:
        raise CalibrationError(
            f"{directory} holds no pictures; {', '.join(sorted(_SUFFIXES))} are looked for.",
            remedy="Put 10 or more pictures like those met in service into the directory.",
        )
    if len(damaged) > _MAX_DAMAGED * len(files):
        raise CalibrationError(
            f"{len(damaged)} of {len(files)} calibration pictures in {directory} cannot be decoded, "
            f"the first being {damaged[0]}; at most {_MAX_DAMAGED:.0%} may be damaged.",
            remedy="Remove or replace the damaged pictures.",
        )
    return Pictures(tuple(images), tuple(damaged))


def read_truth(label_file: Path) -> tuple[TruePage, ...]:
    """Read PaddleOCR's ``Label.txt``: ``file<TAB>[{"points", "transcription"}, ...]``, files beside it.

    Raises:
        DataError: The file is missing or malformed, a picture is missing or damaged, or there is no line of text.
    """
    try:
        rows = label_file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{label_file} cannot be read: {error}.") from error
    pages = tuple(_page(label_file, number, row) for number, row in enumerate(rows, start=1) if row.strip())
    if not any("".join(page.texts) for page in pages):
        raise DataError(f"{label_file} holds no line of text to measure on.")
    return pages


def truth_from(pipeline: OcrPipeline, images: Sequence[Image]) -> tuple[TruePage, ...]:
    """What the uncompressed models read, as truth: measuring against it gives their agreement with others."""
    pages = []
    for image in images:
        boxes = [reading_box(box) for box in pipeline.detect(image)]
        texts = [text for text, _ in pipeline.recognize(cut_lines(image, boxes))]
        pages.append(TruePage(image, tuple(boxes), tuple(map(without_spaces, texts))))
    return tuple(pages)


def cut_lines(image: Image, polygons: Sequence[Polygon]) -> list[Image]:
    """Cut quadrilaterals out of ``image`` as the pipeline cuts its boxes."""
    return [cut_line(image, np.asarray(polygon, np.float32)) for polygon in polygons]


def without_spaces(text: str) -> str:
    """PaddleOCR's recognition metric leaves spaces out by default."""
    return "".join(text.split())


def record_feeds(pipeline: OcrPipeline, images: Sequence[Image]) -> dict[str, list[dict[str, NDArray[np.generic]]]]:
    """Read ``images`` and return what det, rec and cls were fed: calibration sees what serving will see.

    Cls is asked about every line, though serving asks it only about those that rec is not sure of: they are too few.
    """
    recorders = {
        name: _Recorder(predictor)
        for name, predictor in (("det", pipeline.det), ("rec", pipeline.rec), ("cls", pipeline.cls))
        if predictor is not None
    }
    recording = replace(pipeline, det=recorders["det"], rec=recorders["rec"], cls=recorders.get("cls"))
    for image in images:
        crops = cut_lines(image, [reading_box(box) for box in recording.detect(image)])
        recording.recognize(crops)
        recording.orient(crops)
    return {name: recorder.feeds for name, recorder in recorders.items()}


class _Recorder:
    """A predictor that keeps what it was fed."""

    def __init__(self, predictor: Predictor) -> None:
        self.name: str = predictor.name
        self.backend: Backend = predictor.backend
        self.precision: str = predictor.precision
        self.sha256: str = predictor.sha256
        self.inputs: tuple[TensorSpec, ...] = predictor.inputs
        self.outputs: tuple[TensorSpec, ...] = predictor.outputs
        self.feeds: list[dict[str, NDArray[np.generic]]] = []
        self._run: Callable[[Mapping[str, NDArray[np.generic]]], dict[str, NDArray[np.generic]]] = predictor.run

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        self.feeds.append(dict(feeds))
        return self._run(feeds)

    def drop_caches(self) -> None:
        """Nothing is kept here."""


def _page(label_file: Path, number: int, row: str) -> TruePage:
    where = f"{label_file}, line {number}"
    name, tab, listed = row.partition("\t")
    try:
        regions = [(np.array(each["points"], np.float32), str(each["transcription"])) for each in json.loads(listed)]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f'{where} is not \'file<TAB>[{{"points", "transcription"}}, ...]\': {"no TAB" if not tab else error}.'
        ) from error
    picture = label_file.parent / name
    # a label file from a server names pictures as DIRECTORY/FILE; here they lie beside it
    picture = picture if picture.is_file() else label_file.parent / Path(name).name
    try:
        image = load_image(picture.read_bytes())
    except (OSError, ImageError) as error:
        raise DataError(f"{where} names {name}, which cannot be read: {error}") from error
    for points, _ in regions:
        if points.ndim != 2 or points.shape[1:] != (2,) or len(points) < 4 or not np.isfinite(points).all():
            raise DataError(f"{where} has a region whose points are not four or more pairs of numbers.")
    kept = [(points, without_spaces(text)) for points, text in regions if text != _IGNORED_TEXT]
    ignored = tuple(points for points, text in regions if text == _IGNORED_TEXT)
    return TruePage(image, tuple(points for points, _ in kept), tuple(text for _, text in kept), ignored)
