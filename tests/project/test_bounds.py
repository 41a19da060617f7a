"""What ``pip install`` may combine with the kit: bounds in serve.in, each of them tried ('./build.sh versions')."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def asked() -> dict[str, Requirement]:
    lines = (REQUIREMENTS / "serve.in").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]
    return {each.name: each for each in found}


def locked(name: str) -> dict[str, Version]:
    text = (REQUIREMENTS / f"{name}.lock").read_text(encoding="utf-8")
    return {match[1]: Version(match[2]) for match in re.finditer(r"^([a-z0-9-]+)==(\S+) ", text, re.MULTILINE)}


def test_every_package_of_the_serving_set_has_a_lower_bound_and_it_is_the_version_that_was_tried() -> None:
    lowest = locked("serve-lowest")
    for name, requirement in asked().items():
        (bound,) = [each.version for each in requirement.specifier if each.operator == ">="]
        assert lowest[name] == Version(bound), f"{name}: run './build.sh lock', then './build.sh versions lowest'"


def test_what_devices_get_lies_between_the_two_that_were_tried() -> None:
    lowest, device, newest = locked("serve-lowest"), locked("serve"), locked("serve-newest")
    for name, requirement in asked().items():
        assert all(requirement.specifier.contains(each[name]) for each in (lowest, device, newest))
        assert lowest[name] <= device[name] <= newest[name]
