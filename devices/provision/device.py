"""What makes a machine this bank's device: the root of trust, the channel that it follows, the reports that it leaves.

::

    ROOT/trust/root.json        pinned at the first installation, never changed
    ROOT/channel.json           region and class of this device, from its first medium; where updates came from last
    ROOT/ca.pem                 certificates that were named for that, instead of the system's
    ROOT/state/inventory.json   the signed report after the latest deployment
    ROOT/units                  what systemd is given

What root's commands make is handed over: below each of the root's directories to that directory's owner, and beside
them to the root's, so that a service owns ``state`` and ``record`` and nothing that root runs or reads.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from devices.clock import CLOCK_NAME, Clock
from devices.durable import give_tree, write_durably
from devices.errors import EdgeKitError, MediumMismatchError, ProvisionError, UpdateTrustError
from devices.match import match
from devices.probe import probe
from devices.profile import Profile, parse_profile
from devices.provision.environment import box_python
from devices.provision.inventory import Action, Deployment, make_inventory, record_deployment, who
from devices.provision.medium import PROFILE, ROOT_JSON, MediumDocument
from devices.provision.slots import Layout, read_switch
from devices.provision.space import prepare_root, writing
from devices.provision.units import UNIT_NAME, USER, write_units
from devices.update.trust import pin_root, pinned_root

log = logging.getLogger(__name__)

_SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
_UNITS = Path("/etc/systemd/system")
CA_NAME = "ca.pem"
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


def enrol(root: Path, medium: Path, document: MediumDocument, root_sha256: str | None) -> None:
    """Make ``root`` a device that trusts the medium's bank, if it is none yet.

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
    if (root / CHANNEL_NAME).exists():
        mine = read_channel_of(root)
        if (mine.region, mine.device_class) == (document.region, document.device_class):
            pinned = sha256(pinned_root(Layout(root).trust)).hexdigest()
            if root_sha256 is not None and pinned != root_sha256.lower():
                raise UpdateTrustError(
                    f"This device was given the trust root with the SHA-256 {pinned} before, not {root_sha256}."
                )
            return
        if read_switch(root).active is not None:  # what never served may still become another class's device
            raise MediumMismatchError(
                f"This device follows channel {mine.region}/{mine.device_class}; the medium carries "
                f"{document.region}/{document.device_class}.",
                remedy=f"Ask headquarters for the medium of {mine.region}/{mine.device_class}.",
            )
    _check_profile(medium)
    prepare_root(root)
    with writing(root):
        pin_root(Layout(root).trust, (medium / ROOT_JSON).read_bytes(), sha256=root_sha256)
        if document.own_profile:
            write_durably(Layout(root).profile, (medium / PROFILE).read_bytes())
        _write_channel(root, Channel(document.region, document.device_class))


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


def known_ca(root: Path) -> Path | None:
    """The certificates that were named with that URL, if any were."""
    path = root / CA_NAME
    return path if path.exists() else None


def remember_source(root: Path, url: str, ca_file: Path | None) -> None:
    """Ask ``url`` next time too, with the same certificates."""
    with writing(root):
        if ca_file is not None and ca_file != root / CA_NAME:
            write_durably(root / CA_NAME, ca_file.read_bytes())
        if (channel := read_channel_of(root)).url != url:
            _write_channel(root, replace(channel, url=url))


def write_inventory(root: Path) -> None:
    """Leave the signed report in the device's state, for whoever collects it. What fails is only logged."""
    try:
        text = json.dumps(make_inventory(root), ensure_ascii=False, indent=1)
        write_durably(Layout(root).state / INVENTORY_NAME, text.encode() + b"\n")
    except (EdgeKitError, OSError) as error:
        log.warning("The inventory report could not be written: %s", error)


@contextmanager
def recorded(root: Path, action: Action, why: str = "") -> Iterator[None]:
    """Keep who changed the device by hand meanwhile, if it was changed, and leave the signed report."""
    before = read_switch(root)
    with hand_over(root):
        try:
            yield
        finally:
            after = read_switch(root)
            if (after.active, after.slots) != (before.active, before.slots) and after.active is not None:
                deployment = Deployment(
                    time=Clock(Layout(root).state / CLOCK_NAME).now().isoformat(timespec="seconds"),
                    by=who(),
                    action=action,
                    source=why,
                    release=after.serving.release,
                    slot=after.active,
                    before=before.serving.release if before.active else "",
                    result=after.serving.state,
                )
                record_deployment(root, deployment)
            write_inventory(root)


@contextmanager
def hand_over(root: Path) -> Iterator[None]:
    """Give what is made meanwhile to whom it belongs, however it ends; files are readable for the service."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)
        if os.geteuid() == 0 and root.exists():
            for path in root.iterdir():
                give_tree(path, (path if path.is_dir() and not path.is_symlink() else root).stat())


def starts_at_boot(root: Path) -> bool:
    """Whether ``start_at_boot`` did all that it does on this machine; it may have been cut off."""
    enabled = _UNITS / "multi-user.target.wants" / UNIT_NAME
    possible = _SYSTEMD.is_dir() and os.geteuid() == 0
    return (root / "units" / UNIT_NAME).is_file() and (enabled.is_symlink() or not possible)


def start_at_boot(root: Path) -> str:
    """Write the units, and let systemd start the device, now and at every boot, where it may; returns what was done.

    Raises:
        ProvisionError: systemd refuses; the release is installed nevertheless.
    """
    profile = _profile_of(root)
    python = _python_of(root)
    units = write_units(root / "units", root, profile, python=python)
    by_hand = f"Start it with '{python} -I {Layout(root).launcher} {root}'"
    if not _SYSTEMD.is_dir():
        return f"This machine has no systemd. {by_hand}, at every boot."
    if os.geteuid() != 0:
        return f"{by_hand}; for systemd, root copies {units[0]} to {_UNITS} and enables it."
    _run("systemd-sysusers", str(root / "units" / f"{USER}.conf"))
    owner = pwd.getpwnam(USER)
    for folder in (Layout(root).state, Layout(root).switch.parent):
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    write_durably(_UNITS / UNIT_NAME, units[0].read_bytes())
    with hand_over(root):
        _run("systemctl", "daemon-reload")
        _run("systemctl", "enable", UNIT_NAME)
    _run("systemctl", "restart", UNIT_NAME)
    return f"systemd runs it as {UNIT_NAME}, now and at every boot."


def _run(*command: str) -> None:
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise ProvisionError(
            f"'{' '.join(command)}' failed: {said.strip()[-300:]}",
            state="The release is installed and good, but does not start by itself yet.",
            remedy="Correct what systemd complains about, and run the same command again.",
        ) from error


def _profile_of(root: Path) -> Profile:
    """The profile that the device serves with: the bank's own, or the bundle's."""
    layout, active = Layout(root), read_switch(root).active
    path = layout.profile if layout.profile.exists() or active is None else layout.bundle(active) / PROFILE
    return parse_profile(path.read_bytes(), str(path))


def _python_of(root: Path) -> str:
    """What runs the launcher: the Python that the active slot's environment stands on."""
    active = read_switch(root).active
    return str(Layout(root).python(active).readlink() if active else box_python())


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
