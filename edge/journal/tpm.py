"""The device's secret, sealed by its TPM 2.0: a copy of the disk is worth nothing on another board.

Through tpm2-tools, where they are installed and this user may open ``/dev/tpmrm0``. The secret is sealed under the
storage primary key of the owner hierarchy, which the TPM derives anew from its own seed each time, so nothing has to be
kept in the TPM. It is not bound to boot measurements: an update of the kernel must not lock a branch out of its
journal.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from devices.errors import DeviceKeyError

DEVICE = Path("/dev/tpmrm0")
TCTI = "TPM2TOOLS_TCTI"  # of tpm2-tools: another way to a TPM
_LIMIT_S = 60.0  # a slow TPM takes some seconds for a primary key


def usable() -> bool:
    """Whether there is a TPM that this user may use, and the tools for it."""
    reachable = TCTI in os.environ or os.access(DEVICE, os.R_OK | os.W_OK)
    return reachable and shutil.which("tpm2_unseal") is not None


def seal(secret: bytes) -> tuple[bytes, bytes]:
    """Seal up to 128 bytes; the two parts can lie on the disk.

    Raises:
        DeviceKeyError: The TPM refuses.
    """
    with tempfile.TemporaryDirectory() as work:
        primary = _primary(work)
        public, private = Path(work, "public"), Path(work, "private")
        _run("tpm2_create", "-Q", "-C", primary, "-i", "-", "-u", str(public), "-r", str(private), given=secret)
        return public.read_bytes(), private.read_bytes()


def unseal(public: bytes, private: bytes) -> bytes:
    """The secret again.

    Raises:
        DeviceKeyError: Another TPM sealed it, this one was cleared, or it cannot be used.
    """
    with tempfile.TemporaryDirectory() as work:
        Path(work, "public").write_bytes(public)
        Path(work, "private").write_bytes(private)
        primary, sealed = _primary(work), f"{work}/sealed"
        _run("tpm2_load", "-Q", "-C", primary, "-u", f"{work}/public", "-r", f"{work}/private", "-c", sealed)
        return _run("tpm2_unseal", "-c", sealed)


def _primary(work: str) -> str:
    context = f"{work}/primary"
    _run("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", context)
    return context


def _run(*command: str, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_LIMIT_S, check=True)
        # what a TPM without a resource manager (the kernel's has one) still holds would soon fill it
        subprocess.run(["tpm2_flushcontext", "-t"], capture_output=True, timeout=_LIMIT_S, check=False)
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise DeviceKeyError(f"The TPM refused ({command[0]}): {said[0]}.") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceKeyError(f"The TPM cannot be used ({command[0]}): {error}.") from error
    return done.stdout
