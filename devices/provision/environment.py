"""The Python environment of a slot: made from verified wheels alone, the same bytes in whichever slot it stands.

No index, no compiler, no network: pip runs out of its own wheel. Programs in ``bin`` are removed again, because their
first line names a path: everything is started as ``python -m``, so an environment may be copied from slot to slot.
Bytecode is compiled here, checked by nothing later but the slot's own hashes, so that nothing has to be written into a
slot that serves.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devices.child import die_with_parent
from devices.errors import EnvironmentFailedError

PYTHON_VERSION = "3.11"
# of unpacked wheels: compiled bytecode took 8 % of the serving set; blocks of the file system the rest
_ROOM_FACTOR = 1.12


def unpacked_bytes(wheels: Iterable[Path]) -> int:
    """What an environment of these wheels takes on disk, a little more rather than less.

    Raises:
        EnvironmentFailedError: One is no wheel.
    """
    total = 0
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                total += sum(entry.file_size for entry in archive.infolist())
        except (OSError, zipfile.BadZipFile) as error:
            raise EnvironmentFailedError(f"{wheel.name} is not a wheel: {error}.") from error
    return int(total * _ROOM_FACTOR)


def distribution_of(filename: str) -> str:
    """The distribution that a wheel holds, spelt as pip compares names (PEP 503): ``pydantic-core``."""
    return re.sub(r"[-_.]+", "-", filename.partition("-")[0]).lower()


def python_of(environment: Path) -> Path:
    """The interpreter that runs an environment."""
    return environment / "bin" / "python"


def box_python() -> Path:
    """The machine's own Python, even where this process runs in an environment."""
    return Path(sys.base_prefix) / "bin" / f"python{PYTHON_VERSION}"


def build_environment(target: Path, wheels: Sequence[Path], *, pip: Path, interpreter: Path) -> None:
    """Make an environment with exactly ``wheels``.

    Args:
        target: Where it shall be. It appears there by one rename, whole; a part of an earlier try is removed.
        wheels: Verified files, named as wheels are.
        pip: Pip's own wheel; it is not installed.
        interpreter: The Python that the environment runs on.

    Raises:
        EnvironmentFailedError: pip refused; the message carries its last line.
    """
    with _appearing(target, interpreter) as draft:
        venv = [str(interpreter), "-I", "-m", "venv", "--without-pip", "--symlinks", str(draft)]
        _run(venv, f"{interpreter} could not make an environment")
        _pip_install(draft, pip, wheels)
        _compile(draft)


def copy_environment(source: Path, target: Path, *, interpreter: Path) -> None:
    """Make ``target`` the same as ``source``, byte for byte but for the path of a Python that lies in the slot."""
    with _appearing(target, interpreter) as draft:
        shutil.copytree(source, draft, symlinks=True)


def change_environment(
    source: Path, target: Path, *, remove: Iterable[str], wheels: Sequence[Path], pip: Path, interpreter: Path
) -> None:
    """Make ``target`` from ``source`` with some wheels replaced, so that the others need not travel again.

    Args:
        source: The environment that serves.
        target: Where the new one shall be; it appears whole.
        remove: Distributions that go, spelt as ``distribution_of`` spells them.
        wheels: Files that come, of new distributions or new versions.
        pip: Pip's own wheel.
        interpreter: The Python that the environment runs on.

    Raises:
        EnvironmentFailedError: pip refused; the message carries its last line.
    """
    with _appearing(target, interpreter) as draft:
        shutil.copytree(source, draft, symlinks=True)
        _bind(draft, interpreter)
        if going := sorted({*remove, *(distribution_of(wheel.name) for wheel in wheels)}):
            _pip(draft, pip, "uninstall", "--yes", *going)
        if wheels:
            _pip_install(draft, pip, wheels)
        _compile(draft)


@contextmanager
def _appearing(target: Path, interpreter: Path) -> Iterator[Path]:
    draft = target.with_name(f"{target.name}.part")
    for leftover in (draft, target):
        if leftover.exists():
            shutil.rmtree(leftover)
    yield draft
    _bind(draft, interpreter)
    draft.rename(target)


def _bind(environment: Path, interpreter: Path) -> None:
    """Say which Python an environment runs on, and nothing else that names a path."""
    scripts = environment / "bin"
    for script in scripts.iterdir():
        script.unlink()
    for name in ("python", "python3", f"python{PYTHON_VERSION}"):
        (scripts / name).symlink_to(interpreter)
    lines = (f"home = {interpreter.parent}", "include-system-site-packages = false", f"version = {PYTHON_VERSION}")
    (environment / "pyvenv.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _compile(environment: Path) -> None:
    # unchecked: a slot is verified by its own hashes, and a time stamp would differ from slot to slot
    how = ["-q", "-f", "-j", "2", "--invalidation-mode", "unchecked-hash", "-s", str(environment), "-p", "environment"]
    command = [str(python_of(environment)), "-I", "-m", "compileall", *how, str(environment / "lib")]
    # a file of a wheel that does not compile, a template or one for another Python, is not an error: it is not imported
    subprocess.run(command, env=_clean(), capture_output=True, check=False, preexec_fn=die_with_parent)


def _pip_install(environment: Path, pip: Path, wheels: Sequence[Path]) -> None:
    # by name, not by path: pip would write the path into the environment
    places = [option for folder in sorted({wheel.parent for wheel in wheels}) for option in ("--find-links", folder)]
    wanted = ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]
    offline = ["--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--no-warn-script-location"]
    _pip(environment, pip, "install", *offline, *map(str, places), *wanted)


def _pip(environment: Path, pip: Path, verb: str, *arguments: str) -> None:
    quiet = ["--isolated", "--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action", "ignore"]
    command = [str(python_of(environment)), "-I", str(pip / "pip"), verb, *quiet, *arguments]
    _run(command, "pip could not make the environment")


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(
            command,
            env=_clean(),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            preexec_fn=die_with_parent,
        )
    except OSError as error:
        raise EnvironmentFailedError(f"{what}: {error.strerror} ({command[0]}).") from error
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        if full := [line for line in said if "[Errno 28]" in line]:
            raise OSError(errno.ENOSPC, full[-1])
        raise EnvironmentFailedError(f"{what}: {said[-1] if said else f'exit status {done.returncode}'}.")


def _clean() -> dict[str, str]:
    """Nothing of the caller's environment reaches pip but where temporary files go: no index, no options, no path."""
    kept = {name: os.environ[name] for name in ("TMPDIR", "HOME", "LANG") if name in os.environ}
    return kept | {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
