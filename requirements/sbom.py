"""The bill of materials of what a device runs: ``serve.cdx.json``, CycloneDX 1.6, made from ``serve.lock``.

    python requirements/sbom.py SITE_PACKAGES

``SITE_PACKAGES`` holds the locked packages; their metadata say licences and who needs whom. The hashes are those of the
lock: of every wheel that a device may get, whatever its processor. The same lock gives the same bytes. A licence that a
package declares without saying which one exactly is looked up by a person, once, in ``CONCLUDED``.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
LOCK, INPUT, OUT = HERE / "serve.lock", HERE / "serve.in", HERE / "serve.cdx.json"
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# classifiers that name one licence; the others ("BSD License") name a family
CLASSIFIERS = {
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
}
# read in the licence files inside the wheels; opencv's holds FFmpeg
CONCLUDED = {
    "itsdangerous": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "numpy": "BSD-3-Clause",
    "opencv-python-headless": "Apache-2.0 AND LGPL-2.1-or-later",
    "protobuf": "BSD-3-Clause",
    "psutil": "BSD-3-Clause",
    "pypdfium2": "BSD-3-Clause AND Apache-2.0",
    "python-stdnum": "LGPL-2.1-or-later",
    "waitress": "ZPL-2.1",
}


@dataclass(frozen=True)
class Locked:
    """A package of the lock."""

    name: str
    version: str
    sha256: tuple[str, ...]


def locked(text: str) -> Iterator[Locked]:
    """The packages of a lock file as uv writes it."""
    for entry in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        if match := re.match(r"([a-z0-9-]+)==(\S+) \\\n", entry):
            yield Locked(match[1], match[2], tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))


def licence_of(name: str, package: Distribution) -> License:
    """What was concluded from the package's files, or what it declares.

    Raises:
        SystemExit: Neither is known.
    """
    make = LicenseFactory().make_from_string
    if name in CONCLUDED:
        return make(CONCLUDED[name], license_acknowledgement=LicenseAcknowledgement.CONCLUDED)
    declared = {CLASSIFIERS[each] for each in package.metadata.get_all("Classifier") or () if each in CLASSIFIERS}
    if expression := package.metadata.get("License-Expression") or (declared.pop() if len(declared) == 1 else None):
        return make(expression, license_acknowledgement=LicenseAcknowledgement.DECLARED)
    said = package.metadata.get("License") or "nothing"
    raise SystemExit(
        f"{name} does not name its licence (it says: {said[:80]}). {OUT.name} was not written. Read the licence file "
        f"in its wheel and add the SPDX expression to CONCLUDED in {Path(__file__).name}. [SETUP-005]"
    )


def needs(package: Distribution) -> set[str]:
    """Names of what it needs on this platform, without its extras."""
    asked = [Requirement(line) for line in package.requires or ()]
    return {canonicalize_name(each.name) for each in asked if not each.marker or each.marker.evaluate({"extra": ""})}


def bill(packages: list[Locked], installed: dict[str, Distribution]) -> Bom:
    """The document, with nothing in it that differs from run to run.

    Raises:
        SystemExit: A package is not installed at its version, or its licence is not known.
    """
    kit = Component(
        name=PROJECT["name"],
        version=PROJECT["version"],
        type=ComponentType.APPLICATION,
        licenses=[LicenseFactory().make_with_id(PROJECT["license"])],
        bom_ref=PROJECT["name"],
        description=PROJECT["description"],
    )
    components = {}
    for each in packages:
        package = installed.get(each.name)
        if package is None or package.version != each.version:
            have = package.version if package else "missing"
            raise SystemExit(
                f"{each.name} is {have} in the environment and {each.version} in {LOCK.name}. {OUT.name} was not "
                "written. Run './build.sh setup' first. [SETUP-005]"
            )
        components[each.name] = Component(
            name=each.name,
            version=each.version,
            type=ComponentType.LIBRARY,
            licenses=[licence_of(each.name, package)],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in each.sha256],
            purl=PackageURL("pypi", None, each.name, each.version),
            bom_ref=f"{each.name}=={each.version}",
        )
    # the date of a run says nothing about a lock
    document = Bom(components=components.values(), serial_number=uuid5(NAMESPACE_URL, repr(packages)))
    document.metadata.component = kit
    document.metadata.timestamp = None  # type: ignore[assignment]
    direct = re.findall(r"^[a-z0-9-]+", INPUT.read_text(encoding="utf-8"), re.MULTILINE)
    document.register_dependency(kit, [components[name] for name in direct])
    for name, component in components.items():
        # overrides.txt leaves out some of what is declared
        document.register_dependency(component, [components[each] for each in needs(installed[name]) & set(components)])
    return document


def main(site_packages: str) -> None:
    """Write ``serve.cdx.json``, if it is valid."""
    packages = list(locked(LOCK.read_text(encoding="utf-8")))
    installed = {canonicalize_name(each.metadata["Name"]): each for each in distributions(path=[site_packages])}
    text = JsonV1Dot6(bill(packages, installed)).output_as_string(indent=1)
    if problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise SystemExit(f"{OUT.name} would be invalid: {problem}. It was not written. [SETUP-005]")
    OUT.write_text(text + "\n", encoding="utf-8")
    sys.stderr.write(f"{OUT.relative_to(HERE.parent)}: {len(packages)} packages, valid CycloneDX 1.6\n")


if __name__ == "__main__":
    main(sys.argv[1])
