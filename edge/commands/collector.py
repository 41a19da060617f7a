"""``edgekit collector``: headquarters' side, where the branches' journals arrive."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from devices.errors import CollectorError
from edge.commands.result import DIRECTORY, FILE, NEW_PATH, Result, json_option

if TYPE_CHECKING:
    from edge.application import Submission
    from edge.collector.reconcile import Scores

_folder = click.argument("folder", metavar="DIR", type=DIRECTORY)


@click.group()
def collector() -> None:
    """Collect the journals of branches at headquarters, and answer them."""


@collector.command()
@click.argument("folder", metavar="DIR", type=NEW_PATH)
@click.option("--url", default="https://HOST", help="Under which devices reach it, for the lines that are printed.")
@json_option
def init(folder: Path, url: str) -> Result:
    """Make a collector's directory with its keys, and print the policy's [sync]; what is there stays."""
    from edge.collector.keys import SEALING_NAME, make_keys, policy_lines, sealing_key, signing_key
    from edge.collector.store import Store

    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise CollectorError(f"{folder} cannot be made: {error.strerror}.") from error
    make_keys(folder)
    Store.create(folder)
    signing, sealing = signing_key(folder), sealing_key(folder / SEALING_NAME)
    document = {
        "collector": str(folder),
        "acknowledged_by": signing.public_key().public_bytes_raw().hex(),
        "sealed_for": sealing.public_key().public_bytes_raw().hex(),
    }
    lines = policy_lines(signing, sealing, url)
    return Result(
        document,
        f"{escape(lines)}\nThese lines belong into the bank's policy. Only who opens papers needs "
        f"{folder / SEALING_NAME}: take it to a safe place. Then: edgekit collector serve {folder}",
    )


@collector.command()
@_folder
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8818, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--tls-cert", "certificate", type=FILE, help="The collector's certificate chain (PEM).")
@click.option("--tls-key", "key", type=FILE, help="Its key (PEM, without a password).")
@click.option("--device-ca", "devices", type=FILE, help="Who signed the devices' certificates (PEM).")
@click.option("--nats", "broker", metavar="URL", help="Take what branches sent into this JetStream too.")
@click.option("--json", "as_json", is_flag=True, help="Say on stdout, as one JSON document, when ready and where.")
def serve(
    folder: Path,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    devices: Path | None,
    broker: str | None,
    as_json: bool,
) -> None:
    """Take what devices send until SIGTERM or Ctrl-C."""
    from edge.collector.serving import Tls, serve_collector
    from runtime.logs import log_as_json

    given = [certificate, key, devices]
    if any(given) and not all(given):
        raise click.UsageError("--tls-cert, --tls-key and --device-ca belong together.")
    log_as_json()

    def announce(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "ready": True}))
        else:
            click.echo(f"Ready: {url}  (stop with Ctrl-C)", err=True)

    tls = Tls(certificate, key, devices) if certificate and key and devices else None
    serve_collector(folder, host, port, tls=tls, broker=broker, announce=announce)


@collector.command()
@_folder
@json_option
def report(folder: Path) -> Result:
    """Show devices, what lacks of their journals, alarms, and where headquarters' model disagrees."""
    from edge.collector.report import make_report
    from edge.collector.store import Store

    with closing(Store(folder)) as store:
        document = make_report(store)
    devices = Table(box=None, title="Devices, the longest silent first", title_justify="left")
    for name in ("Device", "Name", "Last seen", "Entries", "Missing"):
        devices.add_column(name)
    for each in document["devices"]:
        devices.add_row(
            each["device"], each["name"], each["last_seen"][:19], str(each["entries"]), str(each["missing"])
        )
    alarms = Table(box=None, title="Alarms", title_justify="left")
    for name in ("Device", "What", "Entry", "Why"):
        alarms.add_column(name)
    for each in document["alarms"]:
        alarms.add_row(each["device"], each["kind"], str(each["seq"]), each["detail"])
    ending = (
        f"{document['compared']} decisions were scored again: {document['agree']} agree, "
        f"{len(document['disagreements'])} do not."
    )
    return Result(document, Group(devices, *([alarms] if document["alarms"] else ["No alarms."]), ending))


@collector.command()
@_folder
@click.option(
    "--rescored", type=FILE, help="What a model said: JSON Lines with decision_id, score, level, decision, model."
)
@click.option("--bundle", type=DIRECTORY, help="Instead: score with this bundle what it has not scored yet.")
@click.option("--sealing-key", "sealing", type=FILE, help="Opens the papers, for --bundle.")
@json_option
def reconcile(folder: Path, rescored: Path | None, bundle: Path | None, sealing: Path | None) -> Result:
    """Compare decisions with headquarters' model; devices are told where it disagrees."""
    from edge.collector.keys import sealing_key
    from edge.collector.reconcile import read_rescored, rescore
    from edge.collector.reconcile import reconcile as compare
    from edge.collector.store import Store

    if (rescored is None) == (bundle is None) or (bundle is None) != (sealing is None):
        raise click.UsageError("Give either --rescored FILE, or --bundle DIR with --sealing-key FILE.")
    with closing(Store(folder)) as store:
        if rescored is not None:
            summary = compare(store, read_rescored(rescored))
        elif bundle is not None and sealing is not None:
            key, model, score = sealing_key(sealing), *_model_of(bundle)
            summary = compare(store, rescore(store, key, score, model))
    sentence = (
        f"{summary.agree} agree, {summary.disagree} do not; devices learn of these at their next call. "
        f"{summary.known} were compared before, {summary.left_out} lack papers."
    )
    return Result(vars(summary), sentence)


@collector.command()
@_folder
@click.argument("decision_id")
@click.argument("verdict", type=click.Choice(["approve", "decline"]))
@click.option("--reason", required=True, help="For the branch; it is kept as a record, not in the chain.")
@click.option("--reviewer", required=True, help="Who decided.")
@json_option
def decide(folder: Path, decision_id: str, verdict: str, reason: str, reviewer: str) -> Result:
    """Have a branch told headquarters' verdict on DECISION_ID; it closes the case there."""
    from edge.collector.store import Store

    said = {"decision_id": decision_id, "verdict": verdict, "reason": reason, "reviewer": reviewer}
    with closing(Store(folder)) as store:
        device, _ = store.decision(decision_id)
        number = store.note(device, "verdict", said)
    return Result({"device": device, "note": number}, f"Device {device} learns of it at its next call.")


@collector.command()
@_folder
@click.argument("device")
@click.argument("authority", type=click.Choice(["full", "review_only", "stopped"]))
@click.option("--reason", required=True, help="For the branch.")
@json_option
def authority(folder: Path, device: str, authority: str, reason: str) -> Result:
    """Let DEVICE decide no more than AUTHORITY from its next call on; 'full' lifts that."""
    from edge.collector.store import Store

    with closing(Store(folder)) as store:
        number = store.note(device, "revocation", {"authority": authority, "reason": reason})
    return Result({"device": device, "note": number}, f"Device {device} learns of it at its next call.")


def _model_of(bundle: Path) -> tuple[str, Scores]:
    """A bundle's name, and what scores with it."""
    from edge.bundle.keys import trusted_keys
    from edge.bundle.verify import verify_bundle
    from edge.service import open_device

    verified = verify_bundle(bundle, trusted_keys())
    scorer = open_device(verified).scorer

    def score(submission: Submission, moment: datetime) -> tuple[int, str, str]:
        receipt = scorer.score(submission, moment=moment).receipt
        return receipt.score, receipt.risk_level, receipt.decision

    return f"{verified.manifest.name} {verified.manifest.version} {verified.sha256[:16]}", score
