"""What makes a machine this bank's device: the root of trust, the channel that it follows, the reports that it leaves.

::

    ROOT/trust/root.json        pinned at the first installation, never changed
    ROOT/channel.json           region and class of this device, from its first medium; where updates came from last
    ROOT/state/inventory.json   the signed report after the latest deployment
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from devices.durable import write_durably
from devices.errors import EdgeKitError, MediumMismatchError, ProvisionError
from devices.match import match
from devices.probe import probe
from devices.profile import parse_profile
from devices.provision.install import prepare_root, writing
from devices.provision.inventory import make_inventory
from devices.provision.medium import PROFILE, ROOT_JSON, MediumDocument
from devices.provision.slots import Layout
from devices.update.trust import pin_root

log = logging.getLogger(__name__)

CHANNEL_NAME = "channel.json"
INVENTORY_NAME = "inventory.json"


@dataclass(frozen=True)
class Channel:
    """Which channel a device follows.

    Attributes:
        region: Of the bank.
        device_class: Of this device in it.
        url: Where updates came from last, if that was a URL.
    """

    region: str
    device_class: str
    url: str = ""


def enrol(root: Path, medium: Path, document: MediumDocument, root_sha256: str | None) -> bool:
    """Make ``root`` a device that trusts the medium's bank; returns whether it is one only now.

    Args:
        root: Of the device; made if need be.
        medium: Checked already.
        document: Of the medium.
        root_sha256: What its trust root must be, where the bank gives that by another way.

    Raises:
        MediumMismatchError: This machine is none of the medium's, or belongs to another channel.
        UpdateTrustError: The trust root is not the one that was expected.
        RootNotWritableError: ``root`` cannot be written.
        SpaceError: The disk is full.
    """
    path = root / CHANNEL_NAME
    if path.exists():
        mine = read_channel_of(root)
        if (mine.region, mine.device_class) != (document.region, document.device_class):
            raise MediumMismatchError(
                f"This device follows channel {mine.region}/{mine.device_class}; the medium carries "
                f"{document.region}/{document.device_class}.",
                remedy=f"Ask headquarters for the medium of {mine.region}/{mine.device_class}.",
            )
        return False
    _check_profile(medium)
    prepare_root(root)
    with writing(root):
        pin_root(Layout(root).trust, (medium / ROOT_JSON).read_bytes(), sha256=root_sha256)
        _write_channel(root, Channel(document.region, document.device_class))
    return True


def read_channel_of(root: Path) -> Channel:
    """The channel that a device follows.

    Raises:
        ProvisionError: ``root`` is not a provisioned device, or the file is damaged.
    """
    path = root / CHANNEL_NAME
    try:
        return Channel(**json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise ProvisionError(
            f"{root} is not a provisioned device: it has no {CHANNEL_NAME}.",
            state="Nothing was changed.",
            remedy="Name the device's --root, or provision it first: 'sh install.sh --root DIR' on a medium.",
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise ProvisionError(
            f"{path} is damaged: {error}.", remedy="Remove it, and install once more from a medium: it is made anew."
        ) from error


def known_source(root: Path) -> str:
    """The URL that updates came from last.

    Raises:
        ProvisionError: There was none.
    """
    if url := read_channel_of(root).url:
        return url
    raise ProvisionError(
        "This device does not know where updates come from.",
        state="Nothing was changed.",
        remedy="Name the medium's directory or the repository's https:// URL; a URL is remembered.",
    )


def remember_source(root: Path, url: str) -> None:
    """Ask ``url`` next time too."""
    if (channel := read_channel_of(root)).url != url:
        _write_channel(root, replace(channel, url=url))


def write_inventory(root: Path) -> None:
    """Leave the signed report in the device's state, for whoever collects it. What fails is only logged."""
    try:
        text = json.dumps(make_inventory(root), ensure_ascii=False, indent=1)
        write_durably(Layout(root).state / INVENTORY_NAME, text.encode() + b"\n")
    except (EdgeKitError, OSError) as error:
        log.warning("The inventory report could not be written: %s", error)


def _write_channel(root: Path, channel: Channel) -> None:
    write_durably(root / CHANNEL_NAME, json.dumps(asdict(channel), indent=1).encode() + b"\n")


def _check_profile(medium: Path) -> None:
    """Refuse a machine that the medium's profile does not fit."""
    profile = parse_profile((medium / PROFILE).read_bytes(), f"{PROFILE} of the medium")
    verdict = match(probe(), [profile])[0]
    if not verdict.fits:
        raise MediumMismatchError(
            f"This medium is for devices of the profile {profile.name}, which this machine is not: "
            f"{' '.join(verdict.reasons_against)}",
            remedy="Take the medium for this kind of machine; 'edgekit device match' shows which profiles fit.",
        )
