"""From the policy to a session: which way, which certificates, under which name.

The policy of the bundle that serves is kept in ``STATE/sync.json``, so that ``edgekit sync`` needs no bundle. Beside
the certificates in ``STATE/keys/sync`` a file ``url`` may stand: another way to the same headquarters, such as the
region's own broker. Who is believed stays as the signed policy says.
"""

from __future__ import annotations

import platform
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from devices.clock import CLOCK_NAME, Clock
from devices.durable import write_durably
from devices.errors import SyncSettingsError
from devices.state import ensure_state_dir, state_dir
from edge.journal.store import Journal
from edge.offline.sync import Session, Uplink
from edge.offline.sync_credentials import Credentials
from edge.offline.sync_https import HttpsUplink
from edge.offline.sync_message import device_id, pack_message
from edge.offline.sync_policy import SyncPolicy, check_url
from edge.offline.sync_voucher import Voucher, vouch

_REMEMBERED = "sync.json"


def remember_policy(policy: SyncPolicy) -> None:
    """Keep the ``[sync]`` of the bundle that serves now. Durable on return.

    Raises:
        SyncSettingsError: It cannot be written.
    """
    path = ensure_state_dir() / _REMEMBERED
    data = policy.model_dump_json(indent=1).encode() + b"\n"
    try:
        if not path.exists() or path.read_bytes() != data:
            write_durably(path, data, mode=0o600)
    except OSError as error:
        raise SyncSettingsError(f"{path} cannot be written: {error.strerror}.") from error


def remembered_policy() -> SyncPolicy:
    """The ``[sync]`` of the bundle that served last.

    Raises:
        SyncSettingsError: None was kept, or it is damaged.
    """
    path = state_dir() / _REMEMBERED
    try:
        return SyncPolicy.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise SyncSettingsError(
            "No bundle has served on this device yet, so nothing says where headquarters is.",
            remedy="Give the bundle with --bundle, or start the server once.",
        ) from error
    except OSError as error:
        raise SyncSettingsError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise SyncSettingsError(f"{path} is damaged: {error.errors()[0]['msg']}.") from error


def open_session(journal: Journal, policy: SyncPolicy, *, clock: Clock | None = None) -> Session:
    """A session with the headquarters that ``policy`` names.

    Args:
        journal: Of this device.
        policy: ``[sync]`` of the signed policy.
        clock: Of this device; by default one on ``STATE/clock.json``.

    Raises:
        SyncSettingsError: The policy names no headquarters, its keys are none, or ``STATE/keys/sync/url`` is no way.
    """
    folder = state_dir() / "keys" / "sync"
    url = _url(folder, policy)
    clock = clock or Clock(state_dir() / CLOCK_NAME)
    credentials = partial(Credentials.in_folder, folder)

    def voucher() -> Voucher | None:  # read anew for each call, as the certificates are
        return vouch(credentials(), journal.keys.public_bytes)

    pack = partial(pack_message, journal.keys, platform.node() or "unknown", vouch=voucher)
    uplink: Uplink
    if url.startswith("http"):
        uplink = HttpsUplink(url, pack, credentials, clock)
    else:
        from edge.offline.sync_nats import NatsUplink  # devices with HTTPS do not wait for it

        uplink = NatsUplink(url, device_id(journal.keys.public_bytes), pack, credentials, clock)
    try:
        return Session(journal, journal.keys, uplink, policy, clock=clock, state=ensure_state_dir())
    except ValueError as error:  # 32 bytes that are no point of the curve
        raise SyncSettingsError(f"A key of headquarters in the policy cannot be used: {error}.") from error


def _url(folder: Path, policy: SyncPolicy) -> str:
    if not policy.url:
        raise SyncSettingsError(
            "The bank's policy names no headquarters: [sync] has no url.",
            state="The journal is kept on this device alone.",
            remedy="Build the bundle with a policy that has one; 'edgekit collector init' prints the lines.",
        )
    path = folder / "url"
    try:
        url = path.read_text(encoding="ascii").strip() if path.exists() else policy.url
        check_url(url)
    except (OSError, ValueError) as error:
        raise SyncSettingsError(f"{path} cannot be used: {error}.") from error
    return url
