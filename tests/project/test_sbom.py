"""The bill of materials names what a device runs: each locked package, with its hashes and its licence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from packaging.licenses import canonicalize_license_expression

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements" / "serve.lock").read_text(encoding="utf-8")
BILL: dict[str, Any] = json.loads((ROOT / "requirements" / "serve.cdx.json").read_bytes())
AGAIN = "run './build.sh sbom' and commit requirements/serve.cdx.json"


def test_it_names_the_packages_of_the_lock_with_their_versions_and_hashes_and_nothing_else() -> None:
    locked = {
        f"pkg:pypi/{match[1]}@{match[2]}": set(re.findall(r"sha256:(\w{64})", match[3]))
        for match in re.finditer(r"^([a-z0-9-]+)==(\S+) \\\n((?: {4}--hash.+\n)+)", LOCK, re.MULTILINE)
    }
    assert len(locked) == LOCK.count("==") > 30
    listed = {each["purl"]: {digest["content"] for digest in each["hashes"]} for each in BILL["components"]}
    assert listed == locked, AGAIN


def test_each_package_has_a_licence_that_spdx_knows() -> None:
    for component in BILL["components"]:
        (entry,) = component["licenses"]
        licence = entry.get("expression") or entry["license"]["id"]
        assert canonicalize_license_expression(licence) == licence
        assert entry.get("acknowledgement", entry.get("license", {}).get("acknowledgement"))


def test_it_says_whose_packages_they_are_and_who_needs_whom() -> None:
    kit = BILL["metadata"]["component"]
    assert kit["name"] == "branch-edgekit"
    needs = {each["ref"]: each.get("dependsOn", []) for each in BILL["dependencies"]}
    wanted = re.findall(r"^[a-z0-9-]+", (ROOT / "requirements" / "serve.in").read_text(encoding="utf-8"), re.MULTILINE)
    assert [each.partition("==")[0] for each in needs[kit["bom-ref"]]] == sorted(wanted)
    reached, waiting = set(), [kit["bom-ref"]]
    while waiting:
        reached.add(ref := waiting.pop())
        waiting += set(needs[ref]) - reached
    assert reached == {kit["bom-ref"], *(each["bom-ref"] for each in BILL["components"])}


def test_it_is_cyclonedx_1_6_and_the_same_for_the_same_lock() -> None:
    assert (BILL["bomFormat"], BILL["specVersion"]) == ("CycloneDX", "1.6")
    assert "timestamp" not in BILL["metadata"]
