"""Were the installed wheels built for this Python, C library and processor (PEP 425, 600, 656)?

A wheel for another one is installed without a word where ``pip`` is told another platform, or an environment is
copied from another machine; it fails only when it is imported, with a message about symbols.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from devices.doctor.check import Check

# the old names of glibc's versions (PEP 600, "Legacy manylinux tags")
_LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_MANYLINUX = re.compile(r"manylinux_(\d+)_(\d+)_(.+)")


def check_wheels(site_packages: Path, *, python: str, libc: str, arch: str) -> Check:
    """DOCTOR-003: can every distribution in ``site_packages`` be loaded here?

    Args:
        site_packages: Of the environment that serves.
        python: Its version, such as ``3.11.7``.
        libc: As ``devices.probe`` names it, such as ``glibc 2.36``.
        arch: Of the processor.
    """
    wrong = []
    count = 0
    for name, tags in installed(site_packages):
        count += 1
        if not any(tag_fits(tag, python=python, libc=libc, arch=arch) for tag in tags):
            wrong.append(f"{name} is built for {tags[0]}")
    if not count:
        return Check("DOCTOR-003", "stop", f"{site_packages} holds no distribution.", "Install the release again.")
    if wrong:
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return Check(
            "DOCTOR-003",
            "stop",
            f"{wrong[0]}{more}; this device has Python {python}, {libc}, {arch}.",
            "Ask headquarters for the medium of this kind of device, and install the release again from it.",
        )
    return Check("DOCTOR-003", "ok", f"All {count} distributions are built for Python {python}, {libc}, {arch}.")


def installed(site_packages: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every distribution that was installed from a wheel, and the tags that it was built for."""
    for path in sorted(site_packages.glob("*.dist-info/WHEEL")):
        if tags := parse_wheel_tags(path.read_text(encoding="utf-8", errors="replace")):
            yield path.parent.name.removesuffix(".dist-info"), tags


def parse_wheel_tags(text: str) -> tuple[str, ...]:
    """The tags of a ``WHEEL`` file."""
    lines = (line.partition(":") for line in text.splitlines())
    return tuple(value.strip() for key, _, value in lines if key.strip() == "Tag")


def tag_fits(tag: str, *, python: str, libc: str, arch: str) -> bool:
    """Whether a wheel with ``tag`` loads here; a tag of a form that nobody knows does not."""
    parts = tag.split("-")
    if len(parts) != 3:
        return False
    pythons, abis, platforms = (part.split(".") for part in parts)
    major, minor = python.split(".")[:2]
    mine = f"{major}{minor}"
    stable = "abi3" in abis and any(
        (found := re.fullmatch(rf"cp{major}(\d+)", each)) and int(found[1]) <= int(minor) for each in pythons
    )
    exact = not {f"cp{mine}", f"py{mine}", f"py{major}"}.isdisjoint(pythons) and not {
        f"cp{mine}",
        "abi3",
        "none",
    }.isdisjoint(abis)
    return (stable or exact) and any(_platform_fits(each, libc, arch) for each in platforms)


def _platform_fits(platform: str, libc: str, arch: str) -> bool:
    if platform == "any" or platform == f"linux_{arch}":
        return True
    kind, _, version = libc.partition(" ")
    if kind == "musl":
        return re.fullmatch(rf"musllinux_\d+_\d+_{re.escape(arch)}", platform) is not None
    if kind != "glibc":
        return False
    old, _, old_arch = platform.partition("_")
    if old in _LEGACY:
        needed, built_for = _LEGACY[old], old_arch
    elif found := _MANYLINUX.fullmatch(platform):
        needed, built_for = (int(found[1]), int(found[2])), found[3]
    else:
        return False
    have = tuple(int(piece) for piece in version.split(".")[:2] if piece.isdigit())
    return built_for == arch and needed <= have
