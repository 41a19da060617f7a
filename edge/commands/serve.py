"""``edgekit serve``: the runtime with one bundle, on loopback unless told otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from edge.commands.result import DIRECTORY, backend_option
from runtime.predictor import Backend


@click.command()
@click.option("--bundle", required=True, type=DIRECTORY, help="The bundle to verify and serve.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8808, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@backend_option
@click.option("--json", "as_json", is_flag=True, help="Say on stdout, as one JSON document, when ready and where.")
def serve(bundle: Path, host: str, port: int, backend: Backend | None, as_json: bool) -> None:
    """Verify a bundle, load it, and answer requests until SIGTERM or Ctrl-C."""
    # imported here: every other command starts without the server's libraries
    from edge.bundle.keys import trusted_keys
    from edge.bundle.verify import verify_bundle
    from edge.service import open_device
    from runtime.app import create_app
    from runtime.server import serve as serve_app

    device = open_device(verify_bundle(bundle, trusted_keys()), backend=backend)

    def announce(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "ready": True}))
        else:
            Console(stderr=True).print(f"Ready: {url}  (stop with Ctrl-C)", highlight=False)

    serve_app(create_app(device.services), host, port, on_ready=announce)
