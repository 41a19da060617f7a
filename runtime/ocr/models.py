"""The files of an OCR model set.

DIR/det/ DIR/rec/ DIR/cls/   a model each, as runtime.predictor.model_files reads it; cls/ may be missing
DIR/rec/dict.txt             one character a line, unless rec's ONNX carries them as metadata ``character``
DIR/ocr.toml                 settings that differ from PP-OCR mobile's, by the names of OcrSettings; optional
DIR/artifact.json            instead of ocr.toml, where 'edgekit compress ocr' wrote the directory

All of it is read once; nothing is looked up again while serving.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from devices.errors import ModelError
from devices.malformed import place_and_reason
from runtime.artifact import ARTIFACT_NAME, OcrSettings, entry_files, read_artifact
from runtime.predictor import ModelFiles, model_files
from runtime.protobuf import fields

DICTIONARY_NAME = "dict.txt"
SETTINGS_NAME = "ocr.toml"
_MODELS = {"ocr-det": "det", "ocr-rec": "rec", "ocr-cls": "cls"}
# field numbers of ModelProto and StringStringEntryProto (onnx/onnx.proto)
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2


@dataclass(frozen=True)
class OcrModels:
    """Everything that reading needs, in memory.

    Attributes:
        det: Finds lines.
        rec: Reads a line.
        cls: Tells lines that stand on their head; None where a set has none.
        characters: What rec's classes stand for, from class 1; class 0 is CTC's blank.
        settings: Parameters of the pipeline.
    """

    det: ModelFiles
    rec: ModelFiles
    cls: ModelFiles | None
    characters: tuple[str, ...]
    settings: OcrSettings


def read_ocr_models(directory: Path) -> OcrModels:
    """Read a model set: plain ``det/ rec/ cls/`` or an artifact of kind ``ocr``.

    Raises:
        ModelError: The directory, a model, the dictionary or a setting is missing or malformed.
    """
    if not directory.is_dir():
        raise ModelError(f"There is no directory {directory}.")
    places = {name: directory / folder for name, folder in _MODELS.items()}
    if (directory / ARTIFACT_NAME).is_file():
        artifact = read_artifact(directory)
        if artifact.kind != "ocr" or artifact.ocr is None:
            raise ModelError(f"{directory} holds an artifact of kind {artifact.kind}; expected ocr, with its settings.")
        settings = artifact.ocr
        found = {entry.name: entry_files(directory, entry) for entry in artifact.models if entry.name in _MODELS}
        places |= {entry.name: directory / entry.directory for entry in artifact.models}
    else:
        settings = _read_settings(directory / SETTINGS_NAME)
        found = {name: model_files(place, name) for name, place in places.items() if place.is_dir()}
    for name in ("ocr-det", "ocr-rec"):
        if name not in found:
            raise ModelError(f"{directory} holds no model {name}: {places[name]} is missing.")
    characters = _read_characters(places["ocr-rec"] / DICTIONARY_NAME, found["ocr-rec"])
    return OcrModels(found["ocr-det"], found["ocr-rec"], found.get("ocr-cls"), characters, settings)


def complete_characters(characters: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """Fit a dictionary to rec's number of classes.

    PP-OCR trains with ``use_space_char``: a class for the space after the last character, which no dictionary lists.

    Raises:
        ModelError: The dictionary belongs to another model.
    """
    if classes == len(characters) + 1:
        return characters
    if classes == len(characters) + 2:
        return (*characters, " ")
    raise ModelError(
        f"The dictionary has {len(characters):,} characters, but rec has {classes:,} classes; "
        f"expected {len(characters) + 1:,} or, with the space, {len(characters) + 2:,}.",
        remedy=f"Put the {DICTIONARY_NAME} that belongs to this rec model beside it.",
    )


def parse_characters(data: bytes) -> tuple[str, ...]:
    """The characters of a ``dict.txt``, one a line.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    # not splitlines(): some characters of the dictionary count as line ends there
    lines = data.decode("utf-8-sig").removesuffix("\n").split("\n")
    return tuple(line.removesuffix("\r") for line in lines)


def _read_settings(path: Path) -> OcrSettings:
    if not path.is_file():
        return OcrSettings()
    try:
        return OcrSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} is not TOML: {error}.") from error
    except ValidationError as error:
        raise ModelError(f"{path} is malformed at {place_and_reason(error)}.") from error


def _read_characters(path: Path, rec: ModelFiles) -> tuple[str, ...]:
    try:
        if path.is_file():
            return parse_characters(path.read_bytes())
        if rec.format == "onnx" and (listed := onnx_metadata(rec.graph).get("character")):
            return tuple(listed.removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        raise ModelError(f"The characters of {rec.name} are not UTF-8: {error}.") from error
    raise ModelError(
        f"{path} is missing, and {rec.name} carries no characters.",
        remedy=f"Put the dictionary that belongs to this rec model there as {DICTIONARY_NAME}.",
    )


def onnx_metadata(graph: bytes) -> dict[str, str]:
    """Read the metadata of an ONNX file; its graph is stepped over, so this is quick.

    Raises:
        ModelError: ``graph`` is not a protobuf message.
    """
    try:
        entries = [
            {inner: bytes(text) for inner, text in fields(entry) if isinstance(text, memoryview)}
            for number, entry in fields(memoryview(graph))
            if number == _METADATA_PROPS and isinstance(entry, memoryview)
        ]
    except ValueError as error:
        raise ModelError("The model is not ONNX, or it is truncated.") from error
    return {entry.get(_KEY, b"").decode(): entry.get(_VALUE, b"").decode() for entry in entries}
