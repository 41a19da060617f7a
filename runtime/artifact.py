"""What compression writes and serving reads: a directory with ``artifact.json`` and the files that it names.

    OUT/artifact.json   kind, models, and the settings of the kind
    OUT/...             model files, vocab.txt and pairs.json, or dict.txt, golden.npz, report.json, report.md

One schema for both sides, so that nothing about a model is guessed while serving.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from devices.errors import ModelError
from devices.malformed import place_and_reason
from runtime.predictor import Backend, ModelFiles, model_files

ARTIFACT_NAME = "artifact.json"
Head = Literal["sequence", "token"]
Precision = Literal["fp32", "bf16", "int8", "int8+bf16"]
Decides = Literal["rows", "regions", "text"]
GOLDEN_INPUT, GOLDEN_OUTPUT = "in:", "out:"  # prefixes of the array names in golden.npz


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Schema):
    """One model of an artifact.

    Attributes:
        name: As in receipts and ``/v2/models/NAME``, for example ``ocr-det``.
        directory: Where its files lie, relative to the artifact; "." for the artifact itself.
        precision: ``bf16`` has FP32's files, and is computed in BF16 where the processor can (``runtime.predictor``);
            ``int8+bf16`` has INT8's, and there what is not INT8 is computed in BF16.
        backend: The backend that it was measured on and is meant for.
        golden: ``.npz`` beside artifact.json: inputs ``in:NAME``, expected outputs ``out:NAME``; None without one.
        tolerance: Largest absolute difference from a golden output that still counts as the same.
        decides: What a user sees of an output, and so what must stay the same (``runtime.parity``): of each row the
            largest value; of det's map where there is text; of rec's rows the text.
        flips: Largest share of it that may differ from the golden output's.
        reduce_range: Whether INT8 weights keep to 7 bits, which a CPU without VNNI needs. Artifacts from before
            this was written do not say, and are taken to use all 8.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    directory: str = "."
    precision: Precision = "fp32"
    backend: Backend = "openvino"
    golden: str | None = None
    tolerance: float = Field(default=1e-3, gt=0)
    decides: Decides = "rows"
    flips: float = Field(default=0.0, ge=0, lt=1)
    reduce_range: bool = False

    @property
    def int8(self) -> bool:
        """Whether its weights are integers."""
        return self.precision.startswith("int8")


class TextSettings(_Schema):
    """How a text model's logits become labels of texts, or of tokens.

    Attributes:
        labels: In the order of the logits.
        multi_label: Each label by its own sigmoid; otherwise one softmax over all, as always with head ``token``.
        max_length: Tokens, with [CLS] and [SEP]; longer texts are read in windows, or cut where tokens are labelled.
        window: Tokens, with both; texts longer than this are also read in windows of so many, about as long as the
            texts that the model learned from. None, as in artifacts from before there was one: only ``max_length``.
        temperature: Logits are divided by it before sigmoid or softmax.
        lowercase: What the tokenizer was trained with.
        head: ``sequence``: logits (B, labels), one row a text. ``token``: logits (B, T, labels), and the labels are
            tags of entities (``runtime.entities``). Artifacts from before there was a choice do not say.
    """

    labels: tuple[str, ...]
    multi_label: bool
    max_length: int = Field(default=128, ge=4)
    window: int | None = Field(default=None, ge=4)
    temperature: float = Field(default=1.0, gt=0)
    lowercase: bool = True
    head: Head = "sequence"


class OcrSettings(_Schema):
    """Parameters of det -> cls -> rec; the defaults are PP-OCR mobile's.

    Attributes:
        det_limit_side: Det sees at most the square of this many pixels; larger pictures shrink to that area.
        det_min_side: Pictures whose shorter side is below this are enlarged, since small print needs it; in pixels.
        det_threshold: A pixel with a higher probability is text.
        box_threshold: A box with a lower mean probability is dropped.
        unclip_ratio: How far a box grows: area * ratio / perimeter, in pixels (DB, arXiv:1911.08947).
        rec_height: Height of a line fed to rec, in pixels.
        cls_threshold: A line is turned by 180 degrees only above this confidence.
        drop_confidence: Lines read with less are left out.
    """

    det_limit_side: int = Field(default=960, ge=32)
    det_min_side: int = Field(default=736, ge=32)
    det_threshold: float = Field(default=0.3, gt=0, lt=1)
    box_threshold: float = Field(default=0.5, gt=0, lt=1)
    unclip_ratio: float = Field(default=1.6, gt=0)
    rec_height: int = Field(default=48, ge=8)
    cls_threshold: float = Field(default=0.9, gt=0, le=1)
    drop_confidence: float = Field(default=0.5, ge=0, le=1)


class BehaviourSettings(_Schema):
    """How an account history becomes the behaviour model's input.

    Attributes:
        max_transactions: The latest so many are looked at; older ones are left out.
        min_transactions: With fewer the model is not asked, and the receipt says so.
        mean: Per feature, subtracted before the model.
        std: Per feature, divided by before the model.
    """

    max_transactions: int = Field(default=200, ge=1)
    min_transactions: int = Field(default=5, ge=1)
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Artifact(_Schema):
    """The whole of ``artifact.json``; ``kind`` says which of the settings is present."""

    schema_version: Literal[1] = 1
    kind: Literal["text", "ocr", "behaviour", "model"]
    profile: str
    models: tuple[ModelEntry, ...] = Field(min_length=1)
    text: TextSettings | None = None
    ocr: OcrSettings | None = None
    behaviour: BehaviourSettings | None = None

    def model(self, name: str) -> ModelEntry:
        """The entry called ``name``; KeyError if there is none."""
        for entry in self.models:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def write(self, directory: Path) -> None:
        """Write ``artifact.json``; models that it names should already be there."""
        text = json.dumps(self.model_dump(mode="json", exclude_none=True), ensure_ascii=False, indent=2)
        (directory / ARTIFACT_NAME).write_text(text + "\n", encoding="utf-8")


def read_artifact(directory: Path) -> Artifact:
    """Read ``artifact.json`` in ``directory``.

    Raises:
        ModelError: It is missing or malformed; the message names the field.
    """
    path = directory / ARTIFACT_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{directory} is not an artifact: {ARTIFACT_NAME} cannot be read: {error.strerror}.",
            remedy="Make one with 'edgekit compress', or check the path.",
        ) from error
    return parse_artifact(data, str(path))


def parse_artifact(data: bytes, origin: str) -> Artifact:
    """Parse the bytes of an ``artifact.json``; ``origin`` names them in messages.

    Raises:
        ModelError: They are malformed; the message names the field.
    """
    try:
        return Artifact.model_validate_json(data)
    except ValidationError as error:
        raise ModelError(f"{origin} is malformed at {place_and_reason(error)}.") from error


def entry_files(directory: Path, entry: ModelEntry) -> ModelFiles:
    """Read the files of one model of the artifact in ``directory``."""
    return model_files(directory / entry.directory, entry.name, precision=entry.precision)
