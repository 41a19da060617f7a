"""The journal of this device: ``STATE/journal``, with the keys in ``STATE/keys``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from devices.clock import CLOCK_NAME, Clock
from devices.errors import DeviceKeyError
from devices.state import ensure_state_dir, state_dir
from edge.journal.database import DATABASE_NAME
from edge.journal.keys import KEY_NAME, open_keys
from edge.journal.retention import Bounds
from edge.journal.store import Journal


def open_journal(*, now: Callable[[], datetime] | None = None, bounds: Bounds | None = None) -> Journal:
    """Open this device's journal; begin it where there never was one.

    Args:
        now: The time of entries; by default the device's clock, ``STATE/clock.json``.
        bounds: Of disk and time.

    Raises:
        JournalError: As of ``Journal.open`` and ``open_keys``.
    """
    folder, keys_folder = ensure_state_dir("journal"), ensure_state_dir("keys")
    if (folder / DATABASE_NAME).exists() and not (keys_folder / KEY_NAME).exists():
        raise DeviceKeyError(f"The device key {keys_folder / KEY_NAME} is missing, though there is a journal.")
    now = now or Clock(state_dir() / CLOCK_NAME).now
    return Journal.open(folder, open_keys(keys_folder), now=now, bounds=bounds)
