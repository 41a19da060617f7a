"""What a device trusts and how old its knowledge is.

``TRUST/root.json`` is the pinned root, never changed; ``TRUST/metadata/`` is what python-tuf has verified since.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Metadata, Root

from devices.clock import Clock
from devices.durable import write_durably
from devices.errors import UpdateTrustError
from devices.update.layout import ROOT_NAME

_ROOT_MAX_BYTES = 512_000  # as python-tuf's own limit


@dataclass(frozen=True)
class Freshness:
    """How old the signed metadata is that a device goes by.

    Attributes:
        expires: When the first part of it expires or expired.
        now: The device's time.
        grace: How long it may be used after that.
    """

    expires: datetime
    now: datetime
    grace: timedelta

    @property
    def state(self) -> Literal["fresh", "grace", "expired"]:
        """Whether it is valid, expired but within the grace period, or neither."""
        if self.now < self.expires:
            return "fresh"
        return "grace" if self.now < self.expires + self.grace else "expired"

    @property
    def sentence(self) -> str:
        """For a person and for the inventory."""
        day, end = (f"{each:%Y-%m-%d}" for each in (self.expires, self.expires + self.grace))
        if self.state == "fresh":
            return f"What headquarters signed is valid until {day}."
        if self.state == "grace":
            return f"What headquarters signed expired on {day}; this device accepts it until {end} (grace period)."
        return f"What headquarters signed expired on {day}, and the grace period ended on {end}."


def pin_root(trust_dir: Path, root: bytes, *, sha256: str | None = None) -> None:
    """Trust ``root`` on this device from now on. The same root again changes nothing.

    Args:
        trust_dir: Where it is kept.
        root: A root of the bank's repository, from its first medium.
        sha256: What its SHA-256 must be, where the bank gives it by another way than the medium.

    Raises:
        UpdateTrustError: It is no root, not the expected one, or another one is pinned already.
    """
    digest = hashlib.sha256(root).hexdigest()
    if sha256 is not None and digest != sha256.lower():
        raise UpdateTrustError(f"The trust root on the medium has the SHA-256 {digest}, not {sha256} as expected.")
    _check_root(root, "The trust root on the medium")
    pinned = trust_dir / ROOT_NAME
    if pinned.exists():
        if pinned.read_bytes() != root:
            raise UpdateTrustError(
                "The trust root on the medium is another one than this device's.",
                state="This device goes on trusting its own.",
                remedy="Use a medium of the bank that provisioned this device.",
            )
        return
    try:
        trust_dir.mkdir(parents=True, exist_ok=True)
        write_durably(pinned, root)
    except OSError as error:
        raise UpdateTrustError(f"{pinned} cannot be written: {error.strerror}.") from error


def local_freshness(trust_dir: Path, clock: Clock, grace: timedelta) -> Freshness | None:
    """How old the metadata is that this device verified last; None before the first time. For the inventory."""
    expiries = []
    for path in (trust_dir / "metadata").glob("*.json"):
        try:
            expiries.append(Metadata[Any].from_bytes(path.read_bytes()).signed.expires)
        except (OSError, TufError):
            continue
    return Freshness(min(expiries), clock.now(), grace) if expiries else None


def pinned_root(trust_dir: Path) -> bytes:
    """The root that this device trusts.

    Raises:
        UpdateTrustError: It is missing or damaged.
    """
    path = trust_dir / ROOT_NAME
    try:
        root = path.read_bytes()
    except OSError as error:
        raise UpdateTrustError(f"This device has no trust root: {path} cannot be read: {error.strerror}.") from error
    _check_root(root, str(path))
    return root


def _check_root(root: bytes, name: str) -> None:
    try:
        metadata = Metadata[Root].from_bytes(root[:_ROOT_MAX_BYTES])
        metadata.verify_delegate(Root.type, metadata)
    except (TufError, ValueError, TypeError) as error:
        raise UpdateTrustError(f"{name} is not a signed TUF root, or was changed.") from error
