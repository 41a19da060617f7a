"""The container file and the manifests: pinned, limited, and what Kubernetes' own schema allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from devices.profile import load_profile

CHECKOUT = Path(__file__).parents[2]
CONTAINERFILE = CHECKOUT / "fleet" / "container" / "Containerfile"
KIOSK = CHECKOUT / "fleet" / "k3s" / "kiosk.yaml"
OLDEST = "1.28"  # of the clusters that a bank may still run


def resources() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(KIOSK.read_text(encoding="utf-8")))


def server() -> dict[str, Any]:
    (daemons,) = (resource for resource in resources() if resource["kind"] == "DaemonSet")
    (container,) = daemons["spec"]["template"]["spec"]["containers"]
    return dict(container)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_manifests_are_what_the_schema_allows_and_nothing_else(version: str) -> None:
    for resource in resources():
        kubernetes_validate.validate(resource, version, strict=True)


def test_the_linter_sees_a_misspelt_limit() -> None:
    daemons = resources()[-1]
    container = daemons["spec"]["template"]["spec"]["containers"][0]
    container["resources"]["limit"] = container["resources"].pop("limits")
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(daemons, OLDEST, strict=True)


def test_the_pod_may_use_what_its_profile_says_and_room_for_a_second_worker() -> None:
    limit_mb = load_profile("cpu-avx2").serve.memory_limit_mb
    asked, allowed = server()["resources"]["requests"], server()["resources"]["limits"]
    assert asked.keys() == allowed.keys() == {"cpu", "memory", "ephemeral-storage"}
    assert int(asked["memory"].removesuffix("Mi")) == limit_mb
    assert int(allowed["memory"].removesuffix("Mi")) == 2 * limit_mb + 256


def test_the_pod_listens_on_loopback_and_can_change_nothing_but_its_state() -> None:
    container = server()
    assert container["args"][container["args"].index("--host") + 1] == "127.0.0.1"
    assert container["imagePullPolicy"] == "Never"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert "ports" not in container


def test_the_container_file_pins_what_it_starts_from_and_what_it_installs() -> None:
    text = CONTAINERFILE.read_text(encoding="utf-8")
    images = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - {"serve"}
    assert images == {"python:3.11.13-slim-bookworm"}
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert all("--require-hashes" in line or "==" in line or "--no-deps wheels/" in line for line in installs)
    copied = re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE)
    assert all((CHECKOUT / source).exists() for source in copied if not source.startswith("$"))


def test_the_image_and_the_manifest_ask_the_same_question() -> None:
    question = server()["readinessProbe"]["exec"]["command"][-1]
    assert question in CONTAINERFILE.read_text(encoding="utf-8")
