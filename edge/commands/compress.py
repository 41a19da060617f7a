"""``edgekit compress``: models made small for one device profile, measured, and gated."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Group

from devices.errors import BackendNotInstalledError
from devices.profile import load_profile
from edge.commands.comparison import comparison, plan_table
from edge.commands.progress import progress_bar
from edge.commands.result import DIRECTORY, FILE, NEW_PATH, Result, json_option

_PROFILE = click.option("--profile", required=True, help="A profile's name, or the path of a .toml file.")
_OUT = click.option("--out", required=True, type=NEW_PATH, help="The artifact's directory.")
_SEED = click.option("--seed", default=0, show_default=True, help="The same seed gives the same model.")


@click.group()
def compress() -> None:
    """Make models small for one device profile; the gate decides what is kept."""


@compress.command()
@click.option("--teacher", required=True, type=DIRECTORY, help="A PaddleNLP checkpoint directory.")
@click.option(
    "--train", required=True, type=FILE, help="Labelled texts, .tsv or .jsonl; .jsonl where tokens are labelled."
)
@click.option("--dev", required=True, type=FILE, help="Labelled texts that accuracy is measured on.")
@click.option("--pool", type=FILE, help="Texts without labels, one a line.")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    help="quantize, distil, narrow or larger; several may be given, and the fastest result that passes is taken. "
    "Without it: from cheap to dear, until one meets the profile's limits.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done and roughly how long it would take.")
@_PROFILE
@_OUT
@_SEED
@json_option
def ernie(
    teacher: Path,
    train: Path,
    dev: Path,
    pool: Path | None,
    recipes: tuple[str, ...],
    dry_run: bool,
    profile: str,
    out: Path,
    seed: int,
) -> Result:
    """Make an ERNIE classifier small: pruned, distilled, quantized, as far as the profile's limits call for."""
    with _compression_set():
        from compress.ernie.recipe import compress_ernie, plan_ernie
    files = (teacher, train, dev, pool)
    if dry_run:
        plan = plan_ernie(*files, load_profile(profile), out, recipes=recipes, seed=seed)
        return Result(plan, plan_table(plan))
    with progress_bar("compress ernie") as progress, _stages_kept(out):
        report = compress_ernie(*files, load_profile(profile), out, recipes=recipes, seed=seed, progress=progress)
    return _result(out, report)


@compress.command()
@click.option("--models", required=True, type=DIRECTORY, help="det/ rec/ cls/ with Paddle or ONNX models.")
@click.option("--calibration", required=True, type=DIRECTORY, help="Pictures that quantization looks at.")
@click.option("--truth", type=FILE, help="Label.txt beside other pictures; accuracy is measured on them.")
@_PROFILE
@_OUT
@_SEED
@json_option
def ocr(models: Path, calibration: Path, truth: Path | None, profile: str, out: Path, seed: int) -> Result:
    """Quantize a PP-OCR model set as far as the gate allows."""
    with _compression_set():
        from compress.ocr import compress_ocr
    with progress_bar("compress ocr") as progress:
        report = compress_ocr(models, calibration, truth, load_profile(profile), out, seed=seed, progress=progress)
    return _result(out, report)


@compress.command()
@click.option("--train", required=True, type=FILE, help="Labelled account histories, .jsonl or .jsonl.gz.")
@click.option("--dev", required=True, type=FILE, help="Labelled account histories that accuracy is measured on.")
@_PROFILE
@_OUT
@_SEED
@json_option
def behaviour(train: Path, dev: Path, profile: str, out: Path, seed: int) -> Result:
    """Train the behaviour model (LSTM with attention) and export it."""
    with _compression_set():
        from compress.behaviour import compress_behaviour
    with progress_bar("compress behaviour") as progress:
        report = compress_behaviour(train, dev, load_profile(profile), out, progress, seed=seed)
    return _result(out, report)


@compress.command()
@click.option(
    "--model", required=True, type=click.Path(exists=True, path_type=Path), help="A Paddle model directory or .onnx."
)
@click.option("--calibration", required=True, type=FILE, help="Inputs by name, .npz, one case a row.")
@_PROFILE
@_OUT
@_SEED
@json_option
def model(model: Path, calibration: Path, profile: str, out: Path, seed: int) -> Result:
    """Quantize any Paddle or ONNX model."""
    with _compression_set():
        from compress.model import compress_model
    with progress_bar("compress model") as progress:
        report = compress_model(model, calibration, load_profile(profile), out, seed=seed, progress=progress)
    return _result(out, report)


def _result(out: Path, report: Mapping[str, Any]) -> Result:
    # through JSON once: reports may hold paths and numpy numbers
    document = json.loads(json.dumps(dict(report), default=str))
    return Result(document | {"out": str(out)}, Group(comparison(document["rows"]), f"Written to {out}."))


@contextmanager
def _stages_kept(out: Path) -> Iterator[None]:
    """Say after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"Stopped. What is finished is kept in {out}.stages; the same command goes on from there.", err=True)
        raise


@contextmanager
def _compression_set() -> Iterator[None]:
    """Say in the kit's own words when this machine has only the serving set."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise BackendNotInstalledError(
            f"Compression needs the package {error.name}, which is not installed.",
            state="Nothing was compressed.",
            remedy="Compress on a workstation with the compression set ('./build.sh setup' installs it).",
        ) from error
