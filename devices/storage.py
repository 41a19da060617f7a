"""Where files will lie: room, kind of file system, and whether it may be written."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from devices.errors import DeviceError
from devices.kernel import text_if_any

_MB = 1024 * 1024
# kinds on which a rename is no commit: no journal, gone at the next boot, or somebody else's server (fs man pages)
_NOT_DURABLE = {
    "tmpfs": "is in memory and empty after a restart",
    "ramfs": "is in memory and empty after a restart",
    "overlay": "belongs to a container and may be gone with it",
    "vfat": "cannot rename safely when the power fails",
    "exfat": "cannot rename safely when the power fails",
    "msdos": "cannot rename safely when the power fails",
    "nfs": "is another machine's, which is not there when the line is down",
    "nfs4": "is another machine's, which is not there when the line is down",
    "cifs": "is another machine's, which is not there when the line is down",
}


@dataclass(frozen=True)
class FileSystem:
    """What a path lies on.

    Attributes:
        kind: As the kernel calls it, for example ``ext4``; "unknown" if it does not say.
        mount_point: Where it is mounted.
        read_only: Whether nothing may be written there.
    """

    kind: str = "unknown"
    mount_point: str = "/"
    read_only: bool = False

    @property
    def why_not_durable(self) -> str | None:
        """Why what is written here may be lost although it was synced, as the end of a sentence; None if it is kept."""
        return _NOT_DURABLE.get(self.kind)


def parse_mountinfo(text: str, path: str) -> FileSystem:
    """The file system of the absolute ``path``, from ``/proc/self/mountinfo`` (proc(5)).

    The longest mount point above the path counts, and of several on one point the last, which hides the others.
    """
    found = FileSystem()
    deepest = -1
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if not separator or len(fields) < 6 or not kind:
            continue
        # the kernel writes space, tab, newline and backslash of a name in octal
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= deepest:
            deepest = len(point)
            flags = {*fields[5].split(","), *(kind[2].split(",") if len(kind) > 2 else ())}
            found = FileSystem(kind[0], point, "ro" in flags)
    return found


def file_system_of(path: Path) -> FileSystem:
    """What ``path`` lies on, or will lie on once it is made."""
    return parse_mountinfo(text_if_any("/proc/self/mountinfo") or "", str(existing(path).resolve()))


def disk_free_mb(path: Path) -> int:
    """Room where ``path`` lies or will lie, for this user.

    Raises:
        DeviceError: No directory above it can be entered.
    """
    return shutil.disk_usage(existing(path)).free // _MB


def existing(path: Path) -> Path:
    """``path``, or the nearest directory above it that is there and that this user may look into.

    Raises:
        DeviceError: There is none.
    """
    for candidate in (path.absolute(), *path.absolute().parents):
        try:
            shutil.disk_usage(candidate)
        except OSError:
            continue  # not there yet, or behind a directory that we may not enter: it will lie where its parent does
        return candidate
    raise DeviceError(f"No file system was found for the state directory {path}.", remedy="Set EDGEKIT_STATE_DIR.")
