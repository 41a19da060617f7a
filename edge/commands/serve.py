"""``edgekit serve``: the runtime with one bundle, or with a provisioned device's active slot; on loopback by default.

With ``--root`` alone this process is the device's launcher (``devices.provision.launcher``), which runs this command
again with ``--slot`` in the slot's own environment, and hands it the listening sockets.

What is imported at the top is all that the supervisor process ever holds; a worker imports the rest.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from devices.errors import EdgeKitError, ServeError
from devices.listeners import inherited_listeners, open_listeners, open_private_listener
from devices.provision.notify import CRASHED, ERROR, FAILED, Notifier
from devices.provision.slots import Layout
from devices.state import VARIABLE
from edge.commands.result import DIRECTORY, FILE, backend_option
from runtime.logs import log_as_json
from runtime.supervisor import Supervisor
from runtime.worker import Work, WorkerSide

if TYPE_CHECKING:
    from devices.profile import Backend
    from devices.provision.switch import SlotName
    from runtime.access import Access


@click.command()
@click.option("--bundle", type=DIRECTORY, help="The bundle to verify and serve.")
@click.option("--root", type=DIRECTORY, help="Instead of a bundle: the provisioned device whose active slot to serve.")
@click.option("--slot", type=click.Choice(["a", "b"]), help="With --root: this slot, as the launcher asks for it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8808, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--tls-cert", "certificate", type=FILE, help="Serve HTTPS with this certificate chain (PEM).")
@click.option("--tls-key", "key", type=FILE, help="The certificate's key (PEM, without a password).")
@backend_option
@click.option("--json", "as_json", is_flag=True, help="Say on stdout, as one JSON document, when ready and where.")
def serve(
    bundle: Path | None,
    root: Path | None,
    slot: SlotName | None,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    backend: Backend | None,
    as_json: bool,
) -> None:
    """Verify a bundle, load it, and answer requests until SIGTERM or Ctrl-C.

    SIGHUP verifies and loads the bundle again and switches to it without losing a request. With --root the device's
    active slot is served, and another slot as soon as it is activated.
    """
    if (bundle is None) == (root is None) or (slot and not root):
        raise click.UsageError("Give either --bundle DIR or --root DIR; --slot belongs to --root.")
    if (certificate is None) != (key is None):
        raise click.UsageError("--tls-cert and --tls-key belong together.")
    log_as_json()
    if root is not None:
        os.environ[VARIABLE] = str(Layout(root.absolute()).state)
    if root is not None and slot is None:
        from devices.provision.start import launch

        given = {"--tls-cert": certificate, "--tls-key": key, "--backend": backend}
        more = [part for name, value in given.items() if value for part in (name, _as_argument(value))]
        launch(root, host, port, more, as_json=as_json)
        return
    source = _Source(bundle, None) if root is None or slot is None else _Source(None, (root.absolute(), slot))
    notifier = Notifier.from_environment()
    try:
        _run(source, host, port, certificate, key, backend, as_json, notifier)
    except EdgeKitError as error:
        notifier.send(**{ERROR: json.dumps(error.as_dict())})
        if error.code != ServeError.code:  # what ended without a word may do better next time
            notifier.send(**{FAILED: f"{error.problem} ({error.code})"})
        raise


@dataclass(frozen=True)
class _Source:
    """What is served: a bundle's directory, or a slot of a device."""

    bundle: Path | None
    slot: tuple[Path, SlotName] | None


def _as_argument(value: Path | str) -> str:
    return str(value.absolute()) if isinstance(value, Path) else value  # a server runs in the root's directory


def _run(
    source: _Source,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    backend: Backend | None,
    as_json: bool,
    notifier: Notifier,
) -> None:
    from runtime.access import check_exposure
    from runtime.tokens import TokenFile

    loaded = None
    if certificate and key:
        from runtime.tls import load_certificate

        loaded = load_certificate(certificate, key)
    access = check_exposure(host, TokenFile(), loaded)
    listeners = inherited_listeners() or open_listeners(host, port)
    bound, bound_port = listeners[0].getsockname()[:2]
    url = f"{access.scheme}://{f'[{bound}]' if ':' in bound else bound}:{bound_port}"

    def announce() -> None:
        notifier.send(READY="1")
        if as_json:
            click.echo(json.dumps({"url": url, "ready": True}))
        elif source.slot is None:
            click.echo(f"Ready: {url}  (stop with Ctrl-C)", err=True)

    supervised = partial(
        Supervisor,
        load=partial(_load, source, backend, access),
        on_ready=announce,
        on_turn=notifier.alive,
        on_lost=lambda reason: notifier.send(**{CRASHED: reason}),
    )
    if loaded is None:
        supervised(listeners).run()
        return
    from runtime.front import Front
    from runtime.tls import serve_tls

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:  # of this user alone
        path = Path(folder) / "worker"
        fronts = [Front(partial(serve_tls, listener, path, loaded)) for listener in listeners]
        supervised([open_private_listener(path)], fronts=fronts).run()


def _load(source: _Source, backend: Backend | None, access: Access, side: WorkerSide) -> Work:
    """In a worker: from the bundle's directory to an app that is loaded, checked and warm."""
    from edge.bundle.keys import trusted_keys
    from edge.bundle.sample import sample_of
    from edge.bundle.verify import verify_bundle
    from edge.journaled import journaled, open_desk
    from edge.pages.blueprint import create_blueprint
    from edge.service import open_device
    from edge.slot import ServedSlot
    from edge.synced import synced
    from runtime.app import create_app
    from runtime.memory import MemoryWatch, release_memory
    from runtime.rehearsal import rehearse

    slot = ServedSlot(*source.slot) if source.slot else None
    bundle = slot.bundle() if slot else verify_bundle(cast(Path, source.bundle), trusted_keys())
    device = open_device(bundle, backend=backend)
    # not with scores that are journaled, nor with those that are compared with the release before
    sample = sample_of(bundle)
    rehearsal = partial(rehearse, device.services, *((sample.application, sample.files) if sample else ()))
    desk = open_desk(device, slot.directory if slot else cast(Path, source.bundle))
    device = journaled(device, desk)
    if slot:
        device = slot.watched(device, bundle)
    desk.serve()
    device, _ = synced(device, desk)  # its thread ends with this process
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
            device.services.metrics.watch(f"memory_{name}", partial(measured, name))
    device.services.metrics.watch("worker_restarts", lambda: side.facts["restarts"])
    status = device.services.status

    def status_with_worker() -> dict[str, Any]:
        return {**status(), "worker": {"pid": os.getpid(), **side.facts, "memory": memory.status()}}

    services = replace(device.services, status=status_with_worker)
    return Work(
        create_app(services, access, pages=create_blueprint()),
        threads=services.limits.threads,
        memory=memory,
        url_scheme=access.scheme,
        rehearse=rehearsal,
    )
