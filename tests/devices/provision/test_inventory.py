"""What a device says of itself, signed: who deployed what, when, on what, and what was checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devices.errors import InventoryError
from devices.provision.inventory import verify_inventory, who
from tests.devices.provision.small_bank import Bank, answer


def test_the_inventory_says_who_installed_what_when_and_what_was_checked(root: Path) -> None:
    document = json.loads((root / "state" / "inventory.json").read_text())
    report = verify_inventory(document)
    (deployment,) = report["deployments"]
    assert (deployment["release"], deployment["result"], deployment["action"]) == ("small-1", "good", "install")
    assert deployment["by"]
    assert [check["name"] for check in deployment["checks"]] == ["signed", "fresh", "files", "health"]
    assert report["slots"]["a"]["verified"] is True
    assert "branch-edgekit==1.0" in report["slots"]["a"]["software"]
    assert report["hardware_and_system"]["cpu_model"]


def test_who_went_back_and_why_is_in_the_inventory_too(own_bank: Bank, root: Path, capsys: Any) -> None:
    own_bank.publish()
    assert answer(capsys, "provision", "update", "--root", root, own_bank.repo)[0] == 0
    assert answer(capsys, "provision", "rollback", "--root", root, "--why", "A customer was wronged.")[0] == 0
    report = verify_inventory(json.loads((root / "state" / "inventory.json").read_text()))
    last = report["deployments"][-1]
    assert (last["action"], last["release"], last["before"]) == ("rollback", "small-1", "small-2")
    assert (last["source"], last["by"]) == ("A customer was wronged.", who())


def test_a_deployment_whose_command_was_killed_in_the_trial_gets_its_verdict_next_time(
    bank: Bank, root: Path, capsys: Any
) -> None:
    path = root / "state" / "deployments.json"
    path.write_text(path.read_text().replace('"result": "good"', '"result": "trial"'))
    assert answer(capsys, "provision", "install", bank.place / "medium", "--root", root)[0] == 0
    assert [each["result"] for each in json.loads(path.read_text())] == ["good"]


def test_a_damaged_record_of_deployments_is_put_aside_and_said(own_bank: Bank, root: Path, capsys: Any) -> None:
    path = root / "state" / "deployments.json"
    damaged = path.read_bytes()[:-20]
    path.write_bytes(damaged)
    own_bank.publish()
    assert answer(capsys, "provision", "update", "--root", root, own_bank.repo)[0] == 0
    report = verify_inventory(json.loads((root / "state" / "inventory.json").read_text()))
    assert report["damaged_records_of_deployments"] == ["deployments-damaged-1.json"]
    assert (root / "state" / "deployments-damaged-1.json").read_bytes() == damaged
    assert [each["release"] for each in report["deployments"]] == ["small-2"]


def test_a_changed_inventory_and_one_of_another_device_are_refused(root: Path, installed: Path) -> None:
    document = json.loads((root / "state" / "inventory.json").read_text())
    changed = {**document, "report": {**document["report"], "device_id": "another"}}
    with pytest.raises(InventoryError, match="changed after it was signed"):
        verify_inventory(changed)
    other = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    with pytest.raises(InventoryError, match="not by the key of this device"):
        verify_inventory(document, other)
