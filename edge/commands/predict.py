"""``edgekit predict``: run a model on texts or pictures, without a bundle."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from edge.commands.result import DIRECTORY, Result, backend_option, json_option
from runtime.predictor import Backend

if TYPE_CHECKING:
    from runtime.text import TextResult, TokenResult


@click.group()
def predict() -> None:
    """Run a text or OCR model by itself."""


@predict.command()
@click.option("--model", required=True, type=DIRECTORY, help="A PaddleNLP checkpoint, or a compressed artifact.")
@backend_option
@json_option
def text(model: Path, backend: Backend | None) -> Result:
    """Label the texts on stdin, one a line, or find the entities in them."""
    from edge.convert import text_artifact
    from runtime.artifact import read_artifact
    from runtime.text import TextClassifier, load_text_model

    artifact = text_artifact(model, backend or "openvino")
    classifier = load_text_model(artifact, backend or read_artifact(artifact).models[0].backend)
    texts = _lines(sys.stdin.buffer.read())
    if isinstance(classifier, TextClassifier):
        labelled = classifier.classify(texts, allow_empty=True)
        return Result({"results": [_as_json(result) for result in labelled]}, _label_table(labelled))
    found = classifier.extract(texts, allow_empty=True)
    return Result({"results": [asdict(result) for result in found]}, _entity_table(found))


def _as_json(result: TextResult) -> dict[str, Any]:
    """The contract's keys: ids and logits of the text's beginning, labels of the whole of it."""
    return {name: value for name, value in asdict(result).items() if name != "windows"}


def _label_table(results: Sequence[TextResult]) -> Table:
    table = Table("Text", "Label", "Probability")
    for result in results:
        ranked = sorted(result.labels.items(), key=lambda item: -item[1])
        for index, (label, probability) in enumerate(ranked[:3]):
            table.add_row(Text("" if index else result.text), Text(label), f"{probability:.3f}")
    return table


def _entity_table(results: Sequence[TokenResult]) -> Table:
    table = Table("Text", "Entity", "Type", "Characters", "Probability")
    for result in results:
        shown = Text(result.text)
        if not result.entities:
            table.add_row(shown, Text("none", style="dim"))
        for entity in result.entities:
            place = f"{entity.start}-{entity.end - 1}"
            table.add_row(shown, Text(entity.text), Text(entity.label), place, f"{entity.probability:.3f}")
            shown = Text("")
        if result.cut:
            table.add_row(shown, Text("longer than the model reads; the rest was not looked at", style="yellow"))
    return table


def _lines(data: bytes) -> list[str]:
    """Lines end at line feeds alone: other Unicode separators belong to the text."""
    try:
        content = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"Standard input is not UTF-8: {error.reason} at byte {error.start}.") from error
    lines = content.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


@predict.command()
@click.option("--models", required=True, type=DIRECTORY, help="det/ rec/ cls/, or a compressed artifact.")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@backend_option
@json_option
def ocr(models: Path, images: Sequence[Path], backend: Backend | None) -> Result:
    """Read the pictures IMAGES."""
    from edge.convert import readable_by
    from runtime.ocr.models import read_ocr_models
    from runtime.ocr.pipeline import load_ocr

    found = read_ocr_models(models)
    chosen = backend or _default_backend(found.det.is_pir)
    pipeline = load_ocr(
        replace(
            found,
            det=readable_by(found.det, chosen),
            rec=readable_by(found.rec, chosen),
            cls=readable_by(found.cls, chosen) if found.cls else None,
        ),
        chosen,
    )
    results: list[dict[str, Any]] = [{"file": str(image), "lines": _read(pipeline, image)} for image in images]
    table = Table("File", "Text", "Confidence")
    for result in results:
        if not result["lines"]:
            table.add_row(str(result["file"]), "[dim]no text found[/]", "")
        for index, line in enumerate(result["lines"]):
            table.add_row("" if index else str(result["file"]), line["text"], f"{line['confidence']:.2f}")
    return Result({"results": results}, table)


def _default_backend(pir: bool) -> Backend:
    # nothing but Paddle Inference reads Paddle 3's inference.json
    return "paddle" if pir else "openvino"


def _read(pipeline: Any, image: Path) -> list[Mapping[str, Any]]:
    from devices.errors import ImageError, InputError
    from runtime.images import load_image

    try:
        data = image.read_bytes()
    except OSError as error:
        raise ImageError(f"{image} cannot be read: {error.strerror}.", state="No picture was read.") from error
    try:
        pixels = load_image(data)
    except InputError as error:
        raise type(error)(f"{image}: {error.problem}", state="No picture was read.", remedy=error.remedy) from error
    return [
        {"text": line.text, "confidence": line.confidence, "box": [list(point) for point in line.box]}
        for line in pipeline.read(pixels)
    ]
