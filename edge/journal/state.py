"""The journal of this device: ``STATE/journal``, with the keys in ``STATE/keys``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from devices.clock import CLOCK_NAME, Clock
from devices.errors import DeviceKeyError, JournalDamagedError, JournalError
from devices.state import ensure_state_dir, state_dir
from edge.journal.database import DATABASE_NAME, read_only, translated
from edge.journal.keys import ANCHOR_NAME, KEY_NAME, DeviceKeys, open_keys
from edge.journal.reader import JournalReader
from edge.journal.retention import Bounds
from edge.journal.store import Journal


def journal_folder() -> Path:
    """``STATE/journal``; not created here."""
    return state_dir() / "journal"


def keys_folder() -> Path:
    """``STATE/keys``; not created here."""
    return state_dir() / "keys"


def device_now() -> datetime:
    """The time of this device's clock, which cannot be set back."""
    return Clock(state_dir() / CLOCK_NAME).now()


def open_journal(*, now: Callable[[], datetime] | None = None, bounds: Bounds | None = None) -> Journal:
    """Open this device's journal; begin it where there never was one.

    Args:
        now: The time of entries; by default the device's clock, ``STATE/clock.json``.
        bounds: Of disk and time.

    Raises:
        JournalError: As of ``Journal.open`` and ``open_keys``.
    """
    folder = ensure_state_dir("journal")
    _check_key(folder)
    now = now or Clock(state_dir() / CLOCK_NAME).now
    return Journal.open(folder, open_keys(ensure_state_dir("keys")), now=now, bounds=bounds)


def existing_keys() -> DeviceKeys:
    """The keys of a device that has begun a journal; nothing is made.

    Raises:
        DeviceKeyError: They are lost or damaged.
        JournalError: This device never began a journal.
    """
    folder = journal_folder()
    if not (folder / DATABASE_NAME).exists() and not (keys_folder() / ANCHOR_NAME).exists():
        raise JournalError(
            f"There is no journal in {folder}.",
            state="Nothing was done.",
            remedy="It begins with the first decision; EDGEKIT_STATE_DIR names another device's state.",
        )
    _check_key(folder)
    return open_keys(keys_folder())


@contextmanager
def reading() -> Iterator[JournalReader]:
    """This device's journal for looking only: nothing is made or changed.

    Raises:
        JournalError: As of ``existing_keys``; or it is missing or cannot be read.
    """
    keys, path = existing_keys(), journal_folder() / DATABASE_NAME
    if not path.exists():
        raise JournalDamagedError(f"The journal {path} is missing, though this device has begun one.")
    with translated(path), closing(read_only(path)) as connection:
        yield JournalReader(path.parent, keys, connection)


def _check_key(folder: Path) -> None:
    if (folder / DATABASE_NAME).exists() and not (keys_folder() / KEY_NAME).exists():
        raise DeviceKeyError(f"The device key {keys_folder() / KEY_NAME} is missing, though there is a journal.")
