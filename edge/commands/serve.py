"""``edgekit serve``: the runtime with one bundle, on loopback unless told otherwise.

What is imported at the top is all that the supervisor process ever holds; a worker imports the rest.
"""

from __future__ import annotations

import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from devices.listeners import open_listeners, open_private_listener
from edge.commands.result import DIRECTORY, FILE, backend_option
from runtime.logs import log_as_json
from runtime.supervisor import Supervisor
from runtime.worker import Work, WorkerSide

if TYPE_CHECKING:
    from devices.profile import Backend
    from runtime.access import Access


@click.command()
@click.option("--bundle", required=True, type=DIRECTORY, help="The bundle to verify and serve.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8808, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--tls-cert", "certificate", type=FILE, help="Serve HTTPS with this certificate chain (PEM).")
@click.option("--tls-key", "key", type=FILE, help="The certificate's key (PEM, without a password).")
@backend_option
@click.option("--json", "as_json", is_flag=True, help="Say on stdout, as one JSON document, when ready and where.")
def serve(
    bundle: Path,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    backend: Backend | None,
    as_json: bool,
) -> None:
    """Verify a bundle, load it, and answer requests until SIGTERM or Ctrl-C.

    SIGHUP verifies and loads the bundle again and switches to it without losing a request.
    """
    from runtime.access import check_exposure
    from runtime.tokens import TokenFile

    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together.")
    log_as_json()
    loaded = None
    if certificate and key:
        from runtime.tls import load_certificate

        loaded = load_certificate(certificate, key)
    access = check_exposure(host, TokenFile(), loaded)
    listeners = open_listeners(host, port)
    bound, bound_port = listeners[0].getsockname()[:2]
    url = f"{access.scheme}://{f'[{bound}]' if ':' in bound else bound}:{bound_port}"

    def announce() -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "ready": True}))
        else:
            click.echo(f"Ready: {url}  (stop with Ctrl-C)", err=True)

    load = partial(_load, bundle, backend, access)
    if loaded is None:
        Supervisor(listeners, load, on_ready=announce).run()
        return
    from runtime.front import Front
    from runtime.tls import serve_tls

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:  # of this user alone
        path = Path(folder) / "worker"
        fronts = [Front(partial(serve_tls, listener, path, loaded)) for listener in listeners]
        Supervisor([open_private_listener(path)], load, on_ready=announce, fronts=fronts).run()


def _load(bundle: Path, backend: Backend | None, access: Access, side: WorkerSide) -> Work:
    """In a worker: from the bundle's directory to an app that is loaded, checked and warm."""
    from dataclasses import replace

    from edge.bundle.keys import trusted_keys
    from edge.bundle.verify import verify_bundle
    from edge.service import open_device
    from runtime.app import create_app
    from runtime.memory import MemoryWatch, release_memory
    from runtime.rehearsal import rehearse

    device = open_device(verify_bundle(bundle, trusted_keys()), backend=backend)
    limits = device.profile.serve
    predictors = device.services.predictors

    def drop_caches() -> None:
        for predictor in predictors.values():
            predictor.drop_caches()
        release_memory()

    memory = MemoryWatch(
        rss_limit_mb=limits.memory_limit_mb,
        gpu_limit_mb=limits.gpu_memory_limit_mb,
        drop_caches=drop_caches,
        ask_replacement=side.ask_replacement,
    )

    def measured(name: str) -> float:
        return memory.status()[name] or 0

    for name, value in memory.status().items():
        if value is not None:  # no limit, or no GPU
            device.services.metrics.watch(f"memory_{name}", "Of the worker, as in /v1/status.", partial(measured, name))
    device.services.metrics.watch(
        "worker_restarts", "Workers that took over for another one, swaps aside.", lambda: side.facts["restarts"]
    )
    status = device.services.status

    def status_with_worker() -> dict[str, Any]:
        return {**status(), "worker": {"pid": os.getpid(), **side.facts, "memory": memory.status()}}

    services = replace(device.services, status=status_with_worker)
    return Work(
        create_app(services, access),
        threads=services.limits.threads,
        memory=memory,
        url_scheme=access.scheme,
        rehearse=partial(rehearse, services),
    )
