"""What this device is and runs, who put it there, when, and which checks it passed: one report, signed by the device.

JR/T 0221-2021 section 6.4 asks who deployed what, when, on which hardware and software. Deployments are kept in
``ROOT/state/deployments.json`` as they happen, outside the slots; the report puts them beside what the machine is now.
Its key is made on the device at the first installation and never leaves it: headquarters keeps the public key of the
first report, and knows every later one by it.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import platform
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from devices.clock import CLOCK_NAME, Clock
from devices.durable import make_directory, write_durably
from devices.errors import InventoryError, SlotError, SwitchError
from devices.probe import probe
from devices.provision.slots import Layout, read_switch, verify_slot
from devices.provision.switch import SLOT_NAMES
from devices.provision.wheelhouse import LOCK_NAME

KEY_NAME = "keys/device.pem"
DEPLOYMENTS_NAME = "deployments.json"
_DAMAGED = "deployments-damaged-"
_KEPT = 500  # deployments; at one a week that is ten years
_SCHEMA = 1
Action = Literal["install", "update", "activate", "mark-good", "rollback"]


@dataclass(frozen=True)
class Check:
    """One thing that was checked before or after a release was put to work.

    Attributes:
        name: Such as ``release signed`` or ``health``.
        passed: Whether it was as it has to be.
        detail: What was seen, a sentence or a figure.
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Deployment:
    """One change of what a device runs.

    Attributes:
        time: UTC by the device's clock that cannot be set back, ISO 8601.
        by: The person or account that started it.
        action: Which command.
        source: Medium or URL; of a rollback why.
        release: What was put to work.
        slot: Where it is.
        before: What ran until then; empty on a new device.
        result: ``good``, ``trial`` while it has not proven itself yet, ``bad``.
        checks: In the order in which they were made.
    """

    time: str
    by: str
    action: Action
    source: str
    release: str
    slot: str
    before: str
    result: str
    checks: tuple[Check, ...] = ()


def who() -> str:
    """The account that runs this command; the one before ``sudo`` where there was one."""
    uid = os.environ.get("SUDO_UID", "")
    try:
        return pwd.getpwuid(int(uid) if uid.isdigit() else os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def record_deployment(root: Path, deployment: Deployment) -> None:
    """Keep ``deployment``; durable on return. The verdict on the trial that was kept last takes that one's place.

    A damaged record is put aside first, for an auditor; inventories say so from then on.
    """
    kept = _read_deployments(root)
    record = Layout(root).state / DEPLOYMENTS_NAME
    if not kept and record.exists():
        record.rename(record.with_name(f"{_DAMAGED}{len(_damaged_records(root)) + 1}.json"))
    if in_trial(root, deployment.release):
        kept.pop()
    kept.append(asdict(deployment))
    data = json.dumps(kept[-_KEPT:], ensure_ascii=False, indent=1).encode() + b"\n"
    write_durably(record, data, mode=0o600)


def in_trial(root: Path, release: str) -> bool:
    """Whether the latest deployment is one of ``release`` whose verdict was not kept: its command was killed."""
    return any((each["release"], each["result"]) == (release, "trial") for each in _read_deployments(root)[-1:])


def make_inventory(root: Path) -> dict[str, Any]:
    """Look at the device in ``root`` and sign what is there.

    Returns:
        ``report``, ``public_key`` (PEM) and ``signature`` (base64, Ed25519 over the report's canonical JSON).

    Raises:
        ProvisionError: ``root`` is not a provisioned device.
        InventoryError: The device's key is damaged.
    """
    layout = Layout(root)
    switch = read_switch(root)
    reading = Clock(layout.state / CLOCK_NAME).read()
    key = device_key(root)
    report = {
        "schema_version": _SCHEMA,
        "device_id": platform.node() or "unknown",
        "key_id": _key_id(key.public_key()),
        "time": reading.time.isoformat(timespec="seconds"),
        "clock": {"state": reading.state, "sentence": reading.sentence},
        "root": str(root),
        "hardware_and_system": {
            # what is installed where this command runs is not what serves: each slot says that itself
            fact: value
            for fact, value in probe(layout.state).as_dict().items()
            if fact != "backends"
        },
        "active": switch.active,
        "slots": {name: _slot(root, name) | asdict(switch.slots[name]) for name in SLOT_NAMES},
        "deployments": _read_deployments(root),
        "damaged_records_of_deployments": _damaged_records(root),
        "history": [asdict(event) for event in switch.history],
    }
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    signature = base64.b64encode(key.sign(_canonical(report))).decode()
    return {"report": report, "public_key": public, "signature": signature}


def verify_inventory(document: Mapping[str, Any], key: Ed25519PublicKey | None = None) -> Mapping[str, Any]:
    """Check a report's signature; returns the report.

    Args:
        document: As ``make_inventory`` made it.
        key: The device's key, from its first report; None takes the one in the document, which shows only that
            nothing was changed since, not whose report it is.

    Raises:
        InventoryError: It is malformed, was changed, or is by another device.
    """
    try:
        report, signature = document["report"], base64.b64decode(document["signature"], validate=True)
        claimed = load_pem_public_key(document["public_key"].encode())
        if not isinstance(claimed, Ed25519PublicKey) or not isinstance(report, Mapping):
            raise ValueError("its key is no Ed25519 key, or it has no report")
        name = str(report["device_id"])
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error, UnsupportedAlgorithm) as error:
        raise InventoryError(f"This is no inventory report: {error}.") from error
    try:
        (key or claimed).verify(signature, _canonical(report))
    except InvalidSignature as error:
        raise InventoryError(
            f"The report of {name} was changed after it was signed, or is not by the key of this device."
        ) from error
    return report


def device_key(root: Path) -> Ed25519PrivateKey:
    """The device's own key, made on first use.

    Raises:
        InventoryError: It is there and damaged.
    """
    path = Layout(root).state / KEY_NAME
    if not path.exists():
        make_directory(path.parent)
        made = Ed25519PrivateKey.generate()
        write_durably(path, made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), mode=0o600)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InventoryError(
            f"The device's key {path} cannot be used: {error}.",
            remedy=f"Move {path} away, and tell headquarters that this device will have a new key.",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InventoryError(f"{path} is not an Ed25519 key.", remedy=f"Move {path} away.")
    return key


def _slot(root: Path, name: Any) -> dict[str, Any]:
    """What lies in a slot, by its release; whether every byte of it is as it was sealed."""
    layout = Layout(root)
    try:
        release = json.loads(layout.release(name).read_bytes())
        bundle = {key: release["bundle"][key] for key in ("name", "version", "manifest_sha256")}
        environment = release["environment"]
        described = {
            "created": release["created"],
            "version": release["version"],
            "bundle": bundle,
            "environment": {"python": environment["python"], "lock_sha256": environment["lock"]["sha256"]},
            "software": _software(layout.slot(name) / LOCK_NAME),
        }
    except (OSError, ValueError, KeyError, TypeError):
        described = {}
    try:
        verify_slot(root, name)
        return described | {"verified": True, "damage": ""}
    except (SlotError, SwitchError) as error:
        return described | {"verified": False, "damage": error.problem}


def _software(lock: Path) -> Sequence[str]:
    """``name==version`` of everything in a slot's environment."""
    return [line.split()[0] for line in lock.read_text(encoding="utf-8").splitlines() if line.strip()]


def _read_deployments(root: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads((Layout(root).state / DEPLOYMENTS_NAME).read_bytes()))
    except (OSError, ValueError, TypeError):
        return []


def _damaged_records(root: Path) -> list[str]:
    """Names of records that could not be read when a deployment was to be kept."""
    return sorted(path.name for path in Layout(root).state.glob(f"{_DAMAGED}*.json"))


def _canonical(report: Mapping[str, Any]) -> bytes:
    return json.dumps(report, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _key_id(key: Ed25519PublicKey) -> str:
    from hashlib import sha256

    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
