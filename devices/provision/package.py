"""Makes ``launcher.pyz``: the launcher and the few modules that it needs, in one file for the box's own Python.

The launcher lives outside the slots, since it decides between them. So it is replaced only by one that was seen to run
on this box and to read this device's record.
"""

from __future__ import annotations

import io
import subprocess
import zipfile
from pathlib import Path

import devices
from devices.durable import write_durably
from devices.errors import ProvisionError
from devices.provision.slots import Layout

_MODULES = (
    "__init__.py",
    "child.py",
    "durable.py",
    "errors/*.py",
    "listeners.py",
    "pause.py",
    "provision/__init__.py",
    "provision/bootstrap.py",
    "provision/launcher.py",
    "provision/lock.py",
    "provision/notify.py",
    "provision/process.py",
    "provision/slots.py",
    "provision/start.py",
    "provision/switch.py",
)
_MAIN = "import sys\n\nfrom devices.provision.start import main\n\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same modules make the same bytes
_TRIAL_S = 60


def launcher_bytes() -> bytes:
    """The file, the same bytes for the same modules."""
    package = Path(devices.__file__).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for pattern in _MODULES:
            for path in sorted(package.glob(pattern)):
                name = f"devices/{path.relative_to(package).as_posix()}"
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), path.read_bytes())
        archive.writestr(zipfile.ZipInfo("__main__.py", _EPOCH), _MAIN)
    return buffer.getvalue()


def install_launcher(root: Path, python: str = "/usr/bin/python3") -> bool:
    """Put the launcher into ``root``, or a newer one in place of the one that is there.

    A launcher that runs goes on as it is until it is started again.

    Args:
        root: Of a device with a record.
        python: The Python that will run it.

    Returns:
        Whether it is another one than before.

    Raises:
        ProvisionError: This Python cannot run it, or it cannot be written.
    """
    target, data = Layout(root).launcher, launcher_bytes()
    trial = target.with_name(target.name + ".trial")
    try:
        if target.exists() and target.read_bytes() == data:
            return False
        write_durably(trial, data)
        command = [python, "-I", str(trial), str(root), "--check"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_S, check=False)
        if ran.returncode != 0:
            said = ran.stderr.strip()[-300:] or "no reason given"
            raise ProvisionError(
                f"The launcher does not run with {python} on this box: {said}",
                remedy="Python 3.9 or newer is needed; name another one, or install it.",
            )
        write_durably(target, data)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProvisionError(f"The launcher {target} cannot be made: {error}.") from error
    finally:
        trial.unlink(missing_ok=True)
    return True
