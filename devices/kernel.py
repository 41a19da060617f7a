"""Reading the kernel's text files, which are small, may be missing, and hold no personal data."""

from __future__ import annotations

from pathlib import Path

from devices.errors import DeviceError


def kernel_text(path: str) -> str:
    """The file's text.

    Raises:
        DeviceError: It cannot be read: this is not Linux, or ``/proc`` is not mounted.
    """
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DeviceError(
            f"{path} cannot be read: {error.strerror}.", remedy="The kit runs on Linux with /proc mounted."
        ) from error


def text_if_any(path: str | Path) -> str | None:
    """The file's text without surrounding space; None where there is no such file, or none that we may read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
