"""Wheels of a few lines, and pip's own out of the standard library."""

from __future__ import annotations

import base64
import ensurepip
import zipfile
from hashlib import sha256
from pathlib import Path


def make_wheel(folder: Path, name: str, version: str = "1.0", *, script: bool = False, module: str = "") -> Path:
    """A wheel with one module, of the distribution's name or another, whose ``VERSION`` says which one it is."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{module or name}.py": f"VERSION = {version!r}\n\n\ndef main():\n    print(VERSION)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:main\n"
    record = "".join(f"{path},{_digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def pip_wheel() -> Path:
    """The pip that Python brings along."""
    return next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))


def _digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
