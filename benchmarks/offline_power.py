"""Power cuts under the journal: what a disk may hold after each of them, built from a recording of all writes.

``record`` runs a writer under ``record_writes.c``. ``disk_after`` builds the files as they may be found when the power
went at a moment of that recording: what was synced is there; of what was written since, each write is there, or not,
or torn at a sector, in any combination, which is the least that SQLite and POSIX promise. A new name counts as durable
once its file was synced, a rename or a deletion once the directory was.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

SECTOR_BYTES = 512
_SOURCE = Path(__file__).with_name("record_writes.c")
ACKNOWLEDGED = "acknowledged"  # the writer adds a line here as soon as an append returned


@dataclass(frozen=True)
class Step:
    """One recorded call: W (write), T (truncate), S (sync), R (rename) or U (unlink)."""

    kind: str
    path: str
    offset: int
    data: bytes


@dataclass
class _File:
    """A file as the disk surely holds it, and what was done to it since it was last synced."""

    durable: bytearray | None = None  # None: not even its name is sure
    pending: list[Step] = field(default_factory=list)
    deleted: bool = False  # and the directory was not synced since
    renamed: bool = False  # the same


def build_recorder(folder: Path) -> Path:
    """Compile the recorder into ``folder``; needs a C compiler."""
    library = folder / "record_writes.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def record(library: Path, state: Path, log: Path, arguments: Sequence[str]) -> list[Step]:
    """Run ``python ARGUMENTS`` and return what it did below ``state``."""
    environment = os.environ | {"LD_PRELOAD": str(library), "RECORD_BELOW": str(state), "RECORD_TO": str(log)}
    subprocess.run([sys.executable, *arguments], env=environment, check=True, timeout=600)
    return parse(log.read_bytes())


def parse(data: bytes) -> list[Step]:
    """The steps of a recording."""
    steps, at = [], 0
    while at < len(data):
        end = data.index(b"\n", at)
        head, offset, length = data[at:end].decode().rsplit(" ", 2)
        kind, path = head.split(" ", 1)
        at = end + 1 + int(length)
        steps.append(Step(kind, path, int(offset), data[end + 1 : at]))
    return steps


def disk_after(steps: Sequence[Step], cut: int, draw: random.Random, state: Path, target: Path) -> None:
    """Write into ``target`` what the disk may hold if the power goes after ``steps[:cut]``."""
    files: dict[str, _File] = {}
    for step in steps[:cut]:
        if step.path.endswith("-shm") or Path(step.path).name == ACKNOWLEDGED:
            continue  # an index in memory; and the writer's own notes
        if step.kind == "S":
            _sync(files, step.path)
        elif step.kind == "R":
            files[step.data.decode()] = replace(files.pop(step.path), renamed=True)
        elif step.kind == "U":
            if step.path in files:
                files[step.path].deleted = True
        elif step.path in files and not files[step.path].deleted:
            files[step.path].pending.append(step)
        else:
            files[step.path] = _File(pending=[step])
    for path, file in files.items():
        content = _content(file, draw)
        if content is not None:
            place = target / Path(path).relative_to(state)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)


def acknowledged(steps: Sequence[Step], cut: int) -> list[str]:
    """What the writer had been told to be durable by then."""
    lines = b"".join(step.data for step in steps[:cut] if Path(step.path).name == ACKNOWLEDGED)
    return lines.decode().splitlines()


def _sync(files: dict[str, _File], path: str) -> None:
    file = files.get(path)
    if file is None:  # a directory
        for name in [name for name in files if str(Path(name).parent) == path]:
            files[name].renamed = False
            if files[name].deleted:
                del files[name]
        return
    content = file.durable if file.durable is not None else bytearray()
    for step in file.pending:
        _apply(content, step, step.data)
    file.durable, file.pending = content, []


def _content(file: _File, draw: random.Random) -> bytearray | None:
    if (file.durable is None or file.deleted or file.renamed) and draw.random() < 0.5:
        return None
    content = bytearray(file.durable or b"")
    order = list(file.pending)
    keep = draw.random()  # a disk that wrote nearly all, or nearly nothing
    for step in order:
        if draw.random() < keep:
            _apply(content, step, step.data)
        elif step.kind == "W" and draw.random() < 0.5:
            sectors = range(0, len(step.data), SECTOR_BYTES)
            for start in sectors:
                if draw.random() < 0.5:
                    piece = Step("W", step.path, step.offset + start, step.data[start : start + SECTOR_BYTES])
                    _apply(content, piece, piece.data)
    return content


def _apply(content: bytearray, step: Step, data: bytes) -> None:
    if step.kind == "T":
        del content[step.offset :]
        content.extend(bytes(step.offset - len(content)))
    else:
        if step.offset > len(content):
            content.extend(bytes(step.offset - len(content)))
        content[step.offset : step.offset + len(data)] = data
