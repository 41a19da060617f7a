"""``edgekit score``: one application directory against one bundle, without a server."""

from __future__ import annotations

from pathlib import Path

import click

from edge.application import read_directory
from edge.commands.result import DIRECTORY, Result, backend_option, json_option
from runtime.predictor import Backend


@click.command()
@click.option("--bundle", required=True, type=DIRECTORY, help="The bundle to verify and score with.")
@click.argument("application_dir", type=DIRECTORY)
@backend_option
@json_option
def score(bundle: Path, application_dir: Path, backend: Backend | None) -> Result:
    """Score the application in APPLICATION_DIR, journal the decision, and print its receipt."""
    from edge.bundle.keys import trusted_keys
    from edge.bundle.verify import verify_bundle
    from edge.journaled import open_desk
    from edge.receipt import render
    from edge.service import open_device

    submission = read_directory(application_dir)  # before the models: a wrong application is refused at once
    device = open_device(verify_bundle(bundle, trusted_keys()), backend=backend)
    desk = open_desk(device, bundle)
    desk.serve()
    receipt = desk.decide(submission).answered()
    return Result(receipt.model_dump(mode="json"), render(receipt))
