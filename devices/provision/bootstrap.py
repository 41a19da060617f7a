"""The first program of a medium: checks every byte of it, then hands over to the kit that lies on it.

Standard library only, for Python 3.8 on, and not a line that needs the rest of the kit: the same file is part of the
kit, which checks a medium with it, and lies on the medium, where ``install.sh`` starts it.

How a medium is checked: ``install.sh`` carries the hash of ``SHA256SUMS``, which lists every other file, this one too.
``install.sh`` checks ``SHA256SUMS`` and this file before it starts it; this file then checks the rest, and
``install.sh`` itself, whose text it knows but for that hash. So no byte is left that nobody looks at, and whichever
file is damaged is named by one that is not.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Dict, List, Optional  # noqa: UP035  # this file runs on older Pythons, to say what is missing

SUMS = "SHA256SUMS"
MEDIUM_JSON = "medium.json"
DEFAULT_ROOT = "/opt/edgekit"
_DAMAGED = "PROVISION-011"
_NOTHING = "Nothing was installed; what served before serves on."

_START = 'exec python3 -I "$m/bootstrap.py" "$@"'
_INSTALL_SH = """\
#!/bin/sh
# Installs the release on this medium: sh install.sh [--root DIR]. Needs Python 3.11 and nothing else.
m=$(dirname -- "$0")
s={sums}
r='{start}'
python3 -I -c '
import hashlib, pathlib, sys
def h(data): return hashlib.sha256(data).hexdigest()
m, s, r = sys.argv[1:]
if not m: sys.exit("install.sh of this medium is damaged.")
m = pathlib.Path(m)
d = (m / "SHA256SUMS").read_bytes()
if h(r.encode()) != "{start_sha256}": sys.exit("install.sh of this medium is damaged.")
if h(d) != s: sys.exit("SHA256SUMS or install.sh of this medium is damaged.")
if h((m / "bootstrap.py").read_bytes()) + "  bootstrap.py" not in d.decode().splitlines():
    sys.exit("bootstrap.py of this medium is damaged.")
' "$m" "$s" "$r" && eval "$r"
echo "{message}" >&2
exit 14
"""
_INSTALL_SH_MESSAGE = (
    "Error PROVISION-011: this medium is damaged (see the line above; else install.sh itself), or Python 3 is missing. "
    "Nothing was installed. Copy the medium again from headquarters; if that fails too, call the help desk."
)


class Refusal(Exception):
    """What stops an installation before the kit itself can say so: a code and three sentences, as everywhere."""

    def __init__(self, code: str, problem: str, remedy: str, state: str = _NOTHING) -> None:
        super().__init__(problem)
        self.code, self.problem, self.state, self.remedy = code, problem, state, remedy


def install_sh(sums_sha256: str) -> str:
    """The text of ``install.sh`` on a medium whose ``SHA256SUMS`` has this hash."""
    start_sha256 = hashlib.sha256(_START.encode()).hexdigest()
    return _INSTALL_SH.format(sums=sums_sha256, start=_START, start_sha256=start_sha256, message=_INSTALL_SH_MESSAGE)


def write_sums(medium: Path) -> None:
    """Seal a medium: list every file in ``SHA256SUMS`` (as ``sha256sum -c`` reads it), and write ``install.sh``."""
    (medium / "install.sh").unlink(missing_ok=True)
    files = sorted(path for path in medium.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{sha256_of(path)}  {path.relative_to(medium).as_posix()}\n" for path in files]
    (medium / SUMS).write_text("".join(lines), encoding="utf-8")
    (medium / "install.sh").write_text(install_sh(sha256_of(medium / SUMS)), encoding="utf-8")
    with suppress(PermissionError):  # a FAT stick may refuse; 'sh install.sh' does not need it
        (medium / "install.sh").chmod(0o755)


def find_damage(medium: Path) -> Optional[str]:  # noqa: UP045
    """A sentence that names the first file of the medium that is not as it was packed; None if all are.

    Whoever checks a medium of another version of the kit looks at all but the wording of ``install.sh``.

    Files that are not listed are never used, and not looked at: systems leave some of their own on a USB stick.
    """
    for name in (SUMS, "install.sh", "bootstrap.py"):
        if not (medium / name).is_file():
            return f"{name} is missing from the medium {medium}."
    try:
        listed = (medium / SUMS).read_bytes()
        script, sums = (medium / "install.sh").read_bytes(), hashlib.sha256(listed).hexdigest()
        # a kit that updates from a newer kit's medium does not know that one's text, and does not run it either
        packed_by_this_kit = (medium / "bootstrap.py").read_bytes() == Path(__file__).read_bytes()
        if f"s={sums}\n".encode() not in script or (packed_by_this_kit and script != install_sh(sums).encode()):
            return (
                "install.sh or SHA256SUMS of the medium was changed: install.sh does not carry the hash of SHA256SUMS, "
                "or its text is another one."
            )
        for line in listed.decode("utf-8").splitlines():
            digest, _, name = line.partition("  ")
            path = medium / name
            if not path.is_file():
                return f"{name} is missing from the medium."
            if sha256_of(path) != digest:
                return f"{name} of the medium was changed: its SHA-256 does not begin with {digest[:12]} any more."
    except (OSError, UnicodeDecodeError) as error:
        return f"The medium cannot be read: {error}."
    return None


def sha256_of(path: Path) -> str:
    """The hash of a file that may be larger than memory."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def check_machine(document: Dict[str, Any]) -> None:  # noqa: UP006
    """Refuse a machine that the medium is not for.

    Raises:
        Refusal: Another architecture, another C library, or no Python that the medium's wheels are for.
    """
    arch, machine = document["arch"], platform.machine()
    if machine != arch:
        raise Refusal(
            "PROVISION-012",
            f"This medium is for {arch} devices (profile {document['profile']}); this one is {machine}.",
            "Ask headquarters for the medium that is marked for this kind of device.",
        )
    library, version = platform.libc_ver()
    if library != "glibc" or _numbers(version) < _numbers(document["glibc"]):
        raise Refusal(
            "PROVISION-012",
            f"This medium is for systems with glibc {document['glibc']} or newer; this one has "
            f"{(library + ' ' + version).strip() or 'another C library (musl?)'}.",
            "Use a Debian 12 or newer, or ask headquarters for a medium for this system.",
        )
    if not document.get("interpreter") and sys.version_info[:2] != tuple(_numbers(document["python"])):
        raise Refusal(
            "PROVISION-012",
            f"This medium is for Python {document['python']}; python3 here is {platform.python_version()}.",
            f"Install Python {document['python']} on the device, or ask headquarters for a medium that carries one.",
        )


def _numbers(version: str) -> List[int]:  # noqa: UP006
    return [int(part) for part in version.split(".")[:2] if part.isdigit()]


def main() -> int:
    """``install.sh`` ends here; returns the exit status."""
    parser = argparse.ArgumentParser(prog="install.sh", description="Install the release on this medium.")
    parser.add_argument("--root", default=DEFAULT_ROOT, help="the device's directory (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout, nothing else")
    options, others = parser.parse_known_args()
    medium, root = Path(__file__).resolve().parent, Path(options.root).absolute()
    try:
        return _install(medium, root, [*others, *(["--json"] if options.json else [])])
    except Refusal as refusal:
        error = {name: getattr(refusal, name) for name in ("code", "problem", "state", "remedy")}
        if options.json:
            print(json.dumps({"error": error}, ensure_ascii=False))  # noqa: T201
        else:
            lines = [f"Error {refusal.code}", refusal.problem, refusal.state, refusal.remedy]
            sys.stderr.write("\n  ".join(lines) + "\n")
        return 14


def _install(medium: Path, root: Path, arguments: List[str]) -> int:  # noqa: UP006
    damage = find_damage(medium)
    if damage:
        raise Refusal(_DAMAGED, damage, "Copy the medium again from headquarters, and start install.sh again.")
    document = json.loads((medium / MEDIUM_JSON).read_text(encoding="utf-8"))
    check_machine(document)
    command = [str(medium), "--root", str(root), *arguments]
    serving = _serving_python(root)
    if serving:  # what runs here already judges this medium; nothing of it is executed before
        # -I: nothing from the directory where it is started, which may be the stick's
        own = [str(serving), "-I", "-m", "edge.cli", "provision", "install", *command]
        return subprocess.run(own, check=False).returncode
    shop = _workshop(root)
    with shop as workshop:
        interpreter = _unpack(medium, workshop, document)
        start = (
            f"import sys; sys.path.insert(0, {str(workshop / 'kit')!r}); from edge.cli import main; sys.exit(main())"
        )
        kit = [str(interpreter), "-I", "-B", "-c", start, "provision", "install"]
        # it inherits the lock: while it lives, even without this process, nobody else unpacks over it
        return subprocess.run([*kit, *command], check=False, pass_fds=(shop.lock.fileno(),)).returncode


def _serving_python(root: Path) -> Optional[Path]:  # noqa: UP045
    """The interpreter of the slot that this device serves from, if it was provisioned before."""
    try:
        active = json.loads((root / "record" / "switch.json").read_text(encoding="utf-8"))["active"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if active not in ("a", "b"):  # the service writes the record: it may not choose what root starts
        return None
    python = root / "slots" / active / "environment" / "bin" / "python"
    return python if python.exists() else None


class _workshop:
    """A directory under the root where the medium's kit is unpacked, for one installation at a time."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / "bootstrap"

    def __enter__(self) -> Path:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.lock = (self.root / "bootstrap.lock").open("a+")
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path, ignore_errors=True)  # of an installation that was cut off
            self.path.mkdir()
        except BlockingIOError as error:
            raise Refusal(
                "PROVISION-004",
                f"Another installation into {self.root} is under way.",
                "Wait until it has ended, then start install.sh again.",
                "This one was not started; the other one goes on.",
            ) from error
        except OSError as error:
            raise cannot_write(self.root, error) from error
        return self.path

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self.lock.close()  # the file stays: removing it would let two others each lock one of their own


def cannot_write(place: Path, error: OSError) -> Refusal:
    """What an error of the operating system while writing means to a clerk."""
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal("PROVISION-013", f"The disk under {place} is full.", "Free some room there, and start again.")
    if error.errno == errno.EROFS:
        return Refusal(
            "PROVISION-014",
            f"{place} is on a disk that is read-only.",
            "Name another directory with --root, or have the disk made writable; a failing disk turns read-only too.",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return Refusal(
            "PROVISION-014",
            f"This user may not write to {place}.",
            "Start it as root (sudo sh install.sh), or name a directory of your own with --root.",
        )
    return Refusal("PROVISION-014", f"{place} cannot be written: {error.strerror}.", "Check the disk, and start again.")


def _unpack(medium: Path, workshop: Path, document: Dict[str, Any]) -> Path:  # noqa: UP006
    """Unpack the kit and what it needs to verify a release; returns the Python to run it with."""
    try:
        for blob in document["tools"]:
            with zipfile.ZipFile(medium / blob) as wheel:
                wheel.extractall(workshop / "kit")
        if document.get("interpreter"):
            shutil.unpack_archive(str(medium / document["interpreter"]), workshop / "python", "tar")
            return workshop / "python" / "bin" / f"python{document['python']}"
    except OSError as error:
        raise cannot_write(workshop, error) from error
    return Path(sys.executable)


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main())
