"""Ends a process at its k-th step on the disk, and leaves the disk as a power cut may leave it.

A step is a file opened for writing, an fsync, a rename, or a removal. Two disks are played:

- ``kept``: everything that was written is there, as after ``kill -9``;
- ``torn``: of every file that was written and not fsynced half is there, and the last rename or removal whose directory
  was not fsynced did not happen.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

Disk = Literal["kept", "torn"]


def cut_power_at(step: int, disk: Disk, run: Callable[[], object]) -> bool:
    """Run ``run`` in a process of its own and end it before its ``step``-th step; returns whether it came to that."""
    pid = os.fork()
    if pid == 0:
        try:
            Steps(step, disk).count()
            run()
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


class Steps:
    """Counts them in this process."""

    def __init__(self, last: int, disk: Disk) -> None:
        self._last, self._disk, self._seen = last, disk, 0
        self._dirty: set[str] = set()
        self._undo: list[tuple[str, Callable[[], object]]] = []  # the directory, and what takes the change back

    def count(self) -> None:
        """Put ourselves between the code and the disk."""
        real_open, real_fsync, real_rename, real_unlink = os.open, os.fsync, os.replace, os.unlink
        real_write = io.open

        def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR) and not str(path).endswith("lock"):
                self._step()
                self._dirty.add(str(path))
            return real_open(path, flags, *more, **named)

        def synced(descriptor: int) -> None:
            self._step()
            real_fsync(descriptor)
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
            self._dirty.discard(path)
            self._undo = [each for each in self._undo if each[0] != path]

        def renamed(source: Any, target: Any, **named: Any) -> None:
            self._step()
            before = Path(target).read_bytes() if Path(target).exists() else None
            self._dirty.discard(str(target))
            if str(source) in self._dirty:
                self._dirty.add(str(target))

            def back() -> None:
                shutil.copy(target, source)
                Path(target).write_bytes(before) if before is not None else real_unlink(target)
                self._dirty.discard(str(target))

            real_rename(source, target, **named)
            self._undo.append((str(Path(target).parent), back))

        def removed(path: Any, **named: Any) -> None:
            if named.get("dir_fd") is None and Path(path).is_file():
                self._step()
                contents = Path(path).read_bytes()
                real_unlink(path)
                self._undo.append((str(Path(path).parent), lambda: Path(path).write_bytes(contents)))
            else:
                real_unlink(path, **named)

        def written(file: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            if set(mode) & set("wax+"):
                self._dirty.add(str(file))
            return real_write(file, mode, *more, **named)

        io.open = written  # what pathlib writes with
        os.open, os.fsync, os.replace, os.rename = opened, synced, renamed, renamed  # type: ignore[assignment]
        os.unlink = os.remove = removed  # type: ignore[assignment]

    def _step(self) -> None:
        self._seen += 1
        if self._seen <= self._last:
            return
        if self._disk == "torn":
            torn = set(self._dirty)
            for _, undo in self._undo[-1:]:
                undo()
                torn &= self._dirty
            for path in filter(os.path.exists, torn):
                os.truncate(path, Path(path).stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
