"""``edgekit collector``: headquarters' side, where the branches' journals arrive."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime, timedelta
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
@click.option(
    "--region", "regions", multiple=True, help="And what is in this leaf node's, by its domain; may be repeated."
)
@click.option("--only-registered", is_flag=True, help="Refuse devices that 'devices add' has not registered.")
@click.option("--max-gb", type=click.FloatRange(min=0), help="What DIR may take.  [default: its disk]")
@click.option("--json", "as_json", is_flag=True, help="Say on stdout, as one JSON document, when ready and where.")
def serve(
    folder: Path,
    host: str,
    port: int,
    certificate: Path | None,
    key: Path | None,
    devices: Path | None,
    broker: str | None,
    regions: tuple[str, ...],
    only_registered: bool,
    max_gb: float | None,
    as_json: bool,
) -> None:
    """Take what devices send until SIGTERM or Ctrl-C."""
    from edge.collector.serving import Tls, serve_collector
    from runtime.logs import log_as_json

    given = [certificate, key, devices]
    if any(given) and not all(given):
        raise click.UsageError("--tls-cert, --tls-key and --device-ca belong together.")
    if regions and not broker:
        raise click.UsageError("--region needs --nats, the broker to which the leaf nodes are connected.")
    log_as_json()

    def announce(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "ready": True}))
        else:
            click.echo(f"Ready: {url}  (stop with Ctrl-C)", err=True)

    tls = Tls(certificate, key, devices) if certificate and key and devices else None
    serve_collector(
        folder,
        host,
        port,
        tls=tls,
        broker=broker,
        regions=regions,
        only_registered=only_registered,
        max_bytes=None if max_gb is None else round(max_gb * 1024**3),
        announce=announce,
    )


@collector.group()
def devices() -> None:
    """Say which devices may send."""


@devices.command("list")
@_folder
@json_option
def list_devices(folder: Path) -> Result:
    """Show every device that was added or has called, and the certificate that speaks for it."""
    from edge.collector.report import make_devices
    from edge.collector.store import Store

    with closing(Store(folder)) as store:
        found = make_devices(store)
    table = Table(box=None)
    for name in ("Device", "State", "Since", "Name", "Certificate", "Last seen"):
        table.add_column(name)
    for each in found:
        seen = (each["last_seen"] or "never")[:19]
        certificate = each["subject"] or ""
        table.add_row(
            *map(
                escape,
                (each["device"], each["state"], (each["since"] or "")[:10], each["name"] or "", certificate, seen),
            )
        )
    return Result({"devices": found}, table if found else "No device was added or has called.")


@devices.command()
@_folder
@click.argument("device")
@click.option(
    "--subject", help="Of the certificate that it has to show, such as 'CN=branch-7'.  [default: the one it shows]"
)
@json_option
def add(folder: Path, device: str, subject: str | None) -> Result:
    """Let DEVICE send, also one that was retired, or that has another certificate now."""
    from edge.collector.store import Store

    with closing(Store(folder)) as store:
        store.add_device(device, subject)
    return Result({"device": device, "state": "registered"}, f"Device {device} may send from now on.")


@devices.command()
@_folder
@click.argument("device")
@click.option("--reason", required=True, help="Why; the device is told.")
@json_option
def retire(folder: Path, device: str, reason: str) -> Result:
    """Let DEVICE send no more; what it sent stays, and its certificate may speak for another device."""
    from edge.collector.store import Store

    with closing(Store(folder)) as store:
        store.retire_device(device, reason)
    return Result({"device": device, "state": "retired"}, f"Device {device} is refused from now on.")


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
    for name in ("Device", "Name", "State", "Last seen", "Entries", "Missing", "Unfinished", "Clock"):
        devices.add_column(name)
    for each in document["devices"]:
        devices.add_row(
            each["device"],
            escape(each["name"] or ""),
            each["state"],
            (each["last_seen"] or "never")[:19],
            str(each["entries"]),
            str(each["missing"]),
            str(each["unfinished"]),
            _clock(each["clock_ahead_s"]),
        )
    alarms = Table(box=None, title="Alarms", title_justify="left")
    for name in ("Device", "What", "Entry", "Why"):
        alarms.add_column(name)
    for each in document["alarms"]:
        alarms.add_row(each["device"], each["kind"], str(each["seq"]), escape(each["detail"]))
    room, erasures = document["room"], document["erasures"]
    used_gb, free_gb = room["used_bytes"] / 1024**3, room["free_bytes"] / 1024**3
    ending = (
        f"{document['compared']} decisions were scored again: {document['agree']} agree, "
        f"{len(document['disagreements'])} do not.\n"
        f"{len(erasures)} decisions were erased at branches, and {sum(each['records'] for each in erasures)} copies of "
        f"their records here.\nThe collector holds {used_gb:.2f} GB; its disk has {free_gb:.2f} GB left."
    )
    if room["problem"]:
        ending += f" {room['problem']['problem']}"
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


def _clock(ahead_s: int | None) -> str:
    """How far a device's clock is from headquarters', for people."""
    if ahead_s is None:
        return ""
    return f"{timedelta(seconds=abs(ahead_s))} {'ahead' if ahead_s > 0 else 'behind'}"


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
