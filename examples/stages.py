"""Stages of the demonstration, kept by the content of what went into them.

A stage's key is the SHA-256 of its input files, its parameters, the lock file and all that the making of models
imports of the kit, so a changed line of code or data makes the stage run again and nothing stale is ever shown.
What only a server or an installation uses is left out: it changes no model.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from devices.durable import locked
from devices.state import ensure_state_dir

ROOT = Path(__file__).parent.parent
_MAKER = "compress"
_DATA = "devices/profiles/*.toml"


def cached(name: str, inputs: Sequence[Path | str], build: Callable[[Path], None]) -> tuple[Path, bool]:
    """The directory that ``build`` fills for these inputs, made now or kept from before.

    Args:
        name: Of the stage.
        inputs: Files and directories by content, texts as they are.
        build: Fills the empty directory that it is given; after an error nothing is kept, and what a run leaves that
            is killed goes when the next one builds.

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
    with ExitStack() as stack:
        with locked(cache):
            _clear(cache)
            scratch = stack.enter_context(TemporaryDirectory(dir=cache, prefix=f".{name}-"))
            stack.enter_context(locked(Path(scratch)))
        draft = Path(scratch) / name
        draft.mkdir()
        build(draft)
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():  # else another run made the same meanwhile
                raise
    return target, False


def _clear(cache: Path) -> None:
    """Remove what runs that were killed have begun; whoever still builds holds the lock on its directory."""
    for begun in cache.glob(".*-*"):
        with suppress(FileNotFoundError, BlockingIOError):  # its run has ended by now, or goes on
            descriptor = os.open(begun, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(begun, ignore_errors=True)
            finally:
                os.close(descriptor)


@cache
def _source_fingerprint() -> bytes:
    digest = hashlib.sha256((ROOT / "requirements" / "compress.lock").read_bytes())
    for file in sorted({*sources(ROOT), *ROOT.glob(_DATA)}):
        digest.update(file.relative_to(ROOT).as_posix().encode() + file.read_bytes())
    return digest.digest()


def sources(root: Path) -> set[Path]:
    """The modules below ``root`` that make models, and those that they import, in functions too."""
    waiting = list((root / _MAKER).rglob("*.py"))
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += _imported(root, file)
    return found


def _imported(root: Path, file: Path) -> Iterator[Path]:
    names = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    for name in names:
        parts = name.split(".")
        module = root.joinpath(*parts)
        packages = (root.joinpath(*parts[:depth], "__init__.py") for depth in range(1, len(parts) + 1))
        yield from (path for path in (module.with_suffix(".py"), *packages) if path.is_file())


def _fingerprint(path: Path) -> bytes:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.digest()
