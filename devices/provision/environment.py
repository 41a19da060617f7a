"""The Python environment of a slot: made from verified wheels alone, the same bytes in whichever slot it stands.

No index, no compiler, no network: pip runs out of its own wheel. Programs in ``bin`` are removed again, because their
first line names a path: everything is started as ``python -m``, so an environment may be copied from slot to slot.
Bytecode is compiled here, checked by nothing later but the slot's own hashes, so that nothing has to be written into a
slot that serves.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from devices.errors import EnvironmentFailedError

PYTHON_VERSION = "3.11"
# of unpacked wheels: compiled bytecode took 8 % of the serving set; blocks of the file system the rest
_ROOM_FACTOR = 1.12


def environment_sha256(wheels: Mapping[str, str]) -> str:
    """One number for an environment: the hash over its wheels, given as SHA-256 by file name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(wheels.items()))
    return sha256(lines.encode()).hexdigest()


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


def build_environment(
    target: Path, wheels: Sequence[Path], *, pip: Path, interpreter: Path = Path(sys.executable)
) -> None:
    """Make an environment with exactly ``wheels``.

    Args:
        target: A directory that is not there yet; half of one is removed by the caller, who knows what it was.
        wheels: Verified files, named as wheels are.
        pip: Pip's own wheel; it is not installed.
        interpreter: The Python that the environment is made with and runs on.

    Raises:
        EnvironmentFailedError: pip refused; the message carries its last line.
    """
    _new_environment(target, interpreter)
    _pip(target, pip, "install", "--no-deps", "--no-compile", *map(str, wheels))
    _finish(target)


def copy_environment(source: Path, target: Path) -> None:
    """Make ``target`` the same as ``source``, byte for byte, except for the two places that name a directory."""
    shutil.copytree(source, target, symlinks=True)
    _write_home(target, _home(source), source)


def change_environment(source: Path, target: Path, *, remove: Iterable[str], wheels: Sequence[Path], pip: Path) -> None:
    """Make ``target`` from ``source`` with some wheels replaced, so that the others need not travel again.

    Args:
        source: The environment that serves.
        target: A directory that is not there yet.
        remove: Distributions that go, spelt as ``distribution_of`` spells them.
        wheels: Files that come, of new distributions or new versions.
        pip: Pip's own wheel.

    Raises:
        EnvironmentFailedError: pip refused; the message carries its last line.
    """
    copy_environment(source, target)
    going = sorted({*remove, *(distribution_of(wheel.name) for wheel in wheels)})
    if going:
        _pip(target, pip, "uninstall", "--yes", *going)
    if wheels:
        _pip(target, pip, "install", "--no-deps", "--no-compile", *map(str, wheels))
    _finish(target)


def _new_environment(target: Path, interpreter: Path) -> None:
    command = [str(interpreter), "-I", "-m", "venv", "--without-pip", "--symlinks", str(target)]
    _run(command, f"{interpreter} could not make an environment")


def _finish(environment: Path) -> None:
    """Remove what names a path, and compile what will be imported."""
    scripts = environment / "bin"
    for script in scripts.iterdir():
        if not script.name.startswith("python"):
            script.unlink()
    library = environment / "lib"
    # unchecked: a slot is verified by its own hashes, and a time stamp would differ from slot to slot
    compiling = ["-m", "compileall", "-q", "-f", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    # a file of a wheel that does not compile, a template or one for another Python, is not an error: it is not imported
    command = [str(python_of(environment)), "-I", *compiling, "-s", str(environment.parent), str(library)]
    subprocess.run(command, env=_clean(), capture_output=True, check=False)


def _home(environment: Path) -> str:
    for line in (environment / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home":
            return value.strip()
    raise EnvironmentFailedError(f"{environment / 'pyvenv.cfg'} does not say which Python it belongs to.")


def _write_home(environment: Path, home: str, source: Path) -> None:
    """A copy of an environment that carries its own Python is to run on that copy, not on the one in the other slot."""
    if not Path(home).is_relative_to(source):
        return
    new_home = environment / Path(home).relative_to(source)
    text = (environment / "pyvenv.cfg").read_text(encoding="utf-8").replace(str(source), str(environment))
    (environment / "pyvenv.cfg").write_text(text, encoding="utf-8")
    for link in (environment / "bin").iterdir():
        if link.is_symlink() and (points := link.readlink()).is_relative_to(home):
            link.unlink()
            link.symlink_to(new_home / points.relative_to(home))


def _pip(environment: Path, pip: Path, verb: str, *arguments: str) -> None:
    quiet = ["--isolated", "--quiet", "--no-input", "--disable-pip-version-check", "--root-user-action", "ignore"]
    offline = ["--no-index", "--no-cache-dir", "--no-warn-script-location"] if verb == "install" else []
    command = [str(python_of(environment)), "-I", str(pip / "pip"), verb, *quiet, *offline, *arguments]
    _run(command, "pip could not make the environment")


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(command, env=_clean(), capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise EnvironmentFailedError(f"{what}: {error.strerror} ({command[0]}).") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise EnvironmentFailedError(f"{what}: {said[-1] if said else f'exit status {done.returncode}'}.")


def _clean() -> dict[str, str]:
    """Nothing of the caller's environment reaches pip but where temporary files go: no index, no options, no path."""
    kept = {name: os.environ[name] for name in ("TMPDIR", "HOME", "LANG") if name in os.environ}
    return kept | {"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
