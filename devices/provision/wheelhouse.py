"""Every wheel that a device needs, for its platform, by the hashes of the kit's own lock: made on the workbench.

``serve.lock`` (what a device runs) and ``install.lock`` (pip, which installs it) are part of the kit, so that an
installed kit makes the same wheelhouse as a checkout. The kit's own wheel is built from the checkout, or given.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devices.errors import PackError
from devices.profile import Architecture
from devices.provision.bootstrap import sha256_of
from devices.provision.environment import PYTHON_VERSION, distribution_of

# the oldest that all wheels run with: as requirements/lock.sh resolves (Debian 10, RHEL 8); OpenVINO for ARM is built
# on Ubuntu 22.04, as JetPack 6 is
GLIBC: Mapping[Architecture, str] = {"x86_64": "2.28", "aarch64": "2.35"}
LOCK_NAME = "requirements.lock"
PYTHON_TAR = "python.tar"  # beside the wheels, and among a release's files: a Python for boxes whose own is another
KIT = "branch-edgekit"
PIP = "pip"

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parent.parent
_PACKAGES = ("compress", "devices", "edge", "runtime")
_OLDEST_GLIBC = 5  # manylinux_2_5 is manylinux1, the first of them
_BUILD_NEEDS = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "requirements", *_PACKAGES)


@dataclass(frozen=True)
class Wheelhouse:
    """A directory of wheels and the lock that names them all but pip.

    Attributes:
        directory: Holds the wheels and ``requirements.lock``.
        wheels: Every wheel, the kit's own and pip's among them.
        lock: ``requirements.lock``.
    """

    directory: Path
    wheels: tuple[Path, ...]
    lock: Path


def make_wheelhouse(out: Path, arch: Architecture, *, kit: Path | None = None) -> Wheelhouse:
    """Fetch the locked wheels for ``arch`` and add the kit's own; what is in ``out`` already is checked, not fetched.

    Args:
        out: A directory of wheels; wheels that do not belong are removed.
        arch: The device's processor.
        kit: The kit's own wheel; None builds it from this checkout.

    Raises:
        PackError: A wheel is not to be had, its hash is another one, or there is no checkout to build from.
    """
    if kit is None and not (_CHECKOUT / "pyproject.toml").is_file():
        raise PackError(
            "This kit was installed from a wheel, so there is no checkout to build its own wheel from.",
            remedy="Name the kit's wheel with --kit FILE.whl.",
        )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".fetching-") as folder:
        fresh = Path(folder)
        for lock in ("serve.lock", "install.lock"):
            _download(_HERE / lock, arch, fresh, found_in=out)
        if kit is None:
            _build_kit(fresh)
        else:
            shutil.copy2(kit, fresh / kit.name)
        names = {wheel.name for wheel in fresh.glob("*.whl")}
        for old in out.glob("*.whl"):
            if old.name not in names:
                old.unlink()
        for wheel in fresh.glob("*.whl"):
            wheel.replace(out / wheel.name)
    return read_wheelhouse(out)


def pack_python(python: Path, out: Path) -> Path:
    """Put a Python that runs wherever it is unpacked beside the wheels, as one file; the same bytes for the same files.

    Args:
        python: Its directory, with ``bin/python3.11`` in it: a relocatable build, or one made with ``--prefix``.
        out: The wheelhouse.

    Raises:
        PackError: There is no such program in it, or it is none that runs.
    """
    program = python / "bin" / f"python{PYTHON_VERSION}"
    _run([str(program), "-I", "-c", "import ssl, venv, zlib"], f"{program} to run")
    target = out / PYTHON_TAR

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if "__pycache__" in Path(entry.name).parts:
            return None
        entry.mtime = entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(target, "w") as archive:
        for path in sorted(python.iterdir()):
            archive.add(path, path.name, filter=plain)
    return target


def read_wheelhouse(directory: Path) -> Wheelhouse:
    """Look at a wheelhouse, and write its lock: one line a wheel, so that two are the same if their locks are.

    Raises:
        PackError: The kit's own wheel or pip's is missing.
    """
    wheels = tuple(sorted(directory.glob("*.whl")))
    by_name = {distribution_of(wheel.name): wheel for wheel in wheels}
    for needed in (KIT, PIP):
        if needed not in by_name:
            raise PackError(
                f"{directory} holds no wheel of {needed}.",
                remedy="Make the directory with 'edgekit provision wheels', which puts it there.",
            )
    lines = [
        f"{name}=={wheel.name.split('-')[1]} --hash=sha256:{sha256_of(wheel)}\n"
        for name, wheel in sorted(by_name.items())
        if name != PIP
    ]
    lock = directory / LOCK_NAME
    lock.write_text("".join(lines), encoding="utf-8")
    return Wheelhouse(directory, wheels, lock)


def platforms(arch: Architecture) -> tuple[str, ...]:
    """The platform tags that run on ``arch`` with its glibc or a later one, newest first (PEP 600)."""
    newest = int(GLIBC[arch].split(".")[1])
    tags = [f"manylinux_2_{minor}_{arch}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
    return (*tags, f"manylinux2014_{arch}", f"manylinux2010_{arch}", f"manylinux1_{arch}", f"linux_{arch}")


def _download(lock: Path, arch: Architecture, out: Path, *, found_in: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", "--requirement", str(lock), "--dest", str(out)]
    command += ["--find-links", str(found_in), "--implementation", "cp", "--python-version", PYTHON_VERSION]
    command += [option for tag in platforms(arch) for option in ("--platform", tag)]
    _run([*command, "--abi", f"cp{PYTHON_VERSION.replace('.', '')}", "--abi", "abi3", "--abi", "none"], f"{lock.name}")


def _build_kit(out: Path) -> None:
    # from a copy: setuptools would take what an earlier build left in build/, deleted modules too
    with tempfile.TemporaryDirectory(prefix="edgekit-wheel-") as folder:
        source = Path(folder) / "source"
        source.mkdir()
        for name in _BUILD_NEEDS:
            path = _CHECKOUT / name
            if path.is_dir():
                shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(path, source / name)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        command += ["--wheel-dir", str(out), str(source)]
        _run(command, "the kit's own wheel", SOURCE_DATE_EPOCH=_source_date())


def _source_date() -> str:
    """Seconds since 1970 of the checkout's last commit, or of its newest module where git does not know one.

    Two builds of one checkout are one file so, and a device need not fetch it twice; and the wheel says how old it is.
    """
    command = ["git", "-C", str(_CHECKOUT), "log", "-1", "--format=%ct", "--", *_BUILD_NEEDS]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # no git
        said = ""
    modules = (path for name in _PACKAGES for path in (_CHECKOUT / name).rglob("*.py"))
    return said or str(int(max(path.stat().st_mtime for path in modules)))


def _run(command: list[str], what: str, **variables: str) -> None:
    environment = {**os.environ, **variables}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise PackError(f"{command[0]} cannot be started: {error.strerror}.") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise PackError(f"The workbench could not get {what}: {said[0] if said else f'exit status {done.returncode}'}.")
