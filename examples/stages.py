"""Stages of the demonstration, kept by the content of what went into them.

A stage's key is the SHA-256 of its input files, its parameters, the lock file and the kit's own source, so a changed
line of code or data makes the stage run again and nothing stale is ever shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from devices.state import ensure_state_dir

ROOT = Path(__file__).parent.parent
_SOURCES = ("compress", "devices", "runtime")


def cached(name: str, inputs: Sequence[Path | str], build: Callable[[Path], None]) -> tuple[Path, bool]:
    """The directory that ``build`` fills for these inputs, made now or kept from before.

    Args:
        name: Of the stage.
        inputs: Files and directories by content, texts as they are.
        build: Fills the empty directory that it is given; after an error nothing is kept.

    Returns:
        The directory, and whether it was kept from before.
    """
    digest = hashlib.sha256(_source_fingerprint())
    for each in inputs:
        digest.update(_fingerprint(each) if isinstance(each, Path) else each.encode())
        digest.update(b"\0")
    cache = ensure_state_dir("cache", "demo")
    target = cache / f"{name}-{digest.hexdigest()[:24]}"
    if target.is_dir():
        return target, True
    with TemporaryDirectory(dir=cache, prefix=f".{name}-") as scratch:
        draft = Path(scratch) / name
        draft.mkdir()
        build(draft)
        draft.rename(target)
    return target, False


def _source_fingerprint() -> bytes:
    digest = hashlib.sha256((ROOT / "requirements" / "dev.lock").read_bytes())
    for package in _SOURCES:
        for file in sorted((ROOT / package).rglob("*.py")):
            digest.update(file.relative_to(ROOT).as_posix().encode() + file.read_bytes())
    return digest.digest()


def _fingerprint(path: Path) -> bytes:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()
