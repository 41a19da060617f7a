"""The playbooks, run by the real Ansible over the real sshd on boxes made of namespaces; their kit is a stand-in."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchmarks.fleet_hosts import KIT, Fleet, missing, python
from devices.provision import switch as moves
from devices.provision.inventory import _canonical

CHECKOUT = Path(__file__).parents[2]
PLAYBOOKS = CHECKOUT / "fleet" / "ansible"
BOXES = ("n1", "n2", "n3", "n4", "n5", "s1")

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


@dataclass
class Headquarters:
    """Where playbooks are run."""

    fleet: Fleet
    folder: Path

    def play(self, playbook: str, **variables: object) -> tuple[int, dict[str, Any]]:
        """Exit status and the report of a playbook over the north."""
        reports = self.folder / "reports"
        shutil.rmtree(reports, ignore_errors=True)
        result = self.fleet.run(
            Path(sys.executable).parent / "ansible-playbook",
            *("-i", self.folder / "inventory.yml", playbook, "-e", json.dumps({"boxes": "north", **variables})),
            cwd=PLAYBOOKS,
            environment={
                "ANSIBLE_HOME": str(self.folder / "ansible"),
                "ANSIBLE_SSH_ARGS": "-o ControlMaster=auto -o ControlPersist=5s -o ServerAliveInterval=1",
                "ANSIBLE_TIMEOUT": "3",
                "LC_ALL": "C.UTF-8",
                "FLEET_REPORTS": str(reports),
            },
        )
        (self.folder / "printed").write_text(result.stdout + result.stderr, encoding="utf-8")
        reported = [json.loads(path.read_text(encoding="utf-8")) for path in reports.glob("*.json")]
        assert len(reported) == 1, result.stdout + result.stderr
        return result.returncode, reported[0]

    def roll_out(self, **variables: object) -> tuple[int, dict[str, Any]]:
        """Of release 2."""
        return self.play("rollout.yml", edgekit_release="branch-loans-2", **variables)

    def serving(self, box: str) -> tuple[str, str]:
        """Release and state of a box's active slot."""
        slot = moves.read_record(self.fleet.on(box, f"cat {KIT}/record/switch.json").encode()).serving
        return slot.release, slot.state

    def calls(self, box: str) -> list[str]:
        """Commands that a box got since it was prepared, those aside that only look."""
        return [line for line in self.fleet.on(box, f"cat {KIT}/calls || true").split() if line != "status"]

    def prepare(self, **wrong: str) -> None:
        """All boxes run release 1, and at some of them something goes wrong."""
        record = moves.activate(moves.complete(moves.begin(moves.Switch(), "branch-loans-1", 1)), "a")
        text = moves.mark_good(record).to_bytes().decode()
        for box in BOXES:
            mark = f"touch {wrong[box]};" if box in wrong else ""
            record_it = f"mkdir -p record; cat >record/switch.json <<'X'\n{text}X"
            self.fleet.on(box, f"cd {KIT}; rm -f fail hang refuse cut calls; {mark} {record_it}")


@pytest.fixture(scope="module")
def headquarters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Headquarters]:
    folder = tmp_path_factory.mktemp("fleet")
    kit, stick = folder / "kit", folder / "stick"
    shutil.copytree(CHECKOUT / "devices", kit / "standin" / "devices", ignore=shutil.ignore_patterns("__pycache__"))
    environment = kit / "slots" / "a" / "environment" / "bin" / "python"
    environment.parent.mkdir(parents=True)
    script = (Path(__file__).parent / "standin.py").read_text(encoding="utf-8")
    environment.write_text(f"#!{python()}\n{script}", encoding="utf-8")
    environment.chmod(0o755)
    stick.mkdir()
    (stick / "release").write_text("branch-loans-2", encoding="utf-8")
    install = 'exec "$2/slots/a/environment/bin/python" -m edge.cli provision install --root "$2" "$(dirname "$0")"\n'
    (stick / "install.sh").write_text(install, encoding="utf-8")
    shutil.make_archive(str(folder / "medium"), "tar", stick)
    with Fleet(folder / "boxes", BOXES, kit=kit, stick=stick) as boxes:
        inventory = boxes.inventory(
            {"north": BOXES[:5], "south": BOXES[5:]},
            edgekit_root=KIT,
            edgekit_source="/media/edgekit",
        )
        (folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
        yield Headquarters(boxes, folder)


def test_a_rollout_stops_when_too_many_boxes_fail_and_names_them(headquarters: Headquarters) -> None:
    headquarters.prepare(n2="fail")
    status, report = headquarters.roll_out(fleet_waves=[1, "40%", "100%"], fleet_max_failures=0)
    assert status == 2
    assert report["failed"] == ["n2"]
    assert report["counts"] == {"updated": 2, "rolled back": 1, "not begun": 2}
    assert report["not_begun"] == ["n4", "n5"]
    assert [report["boxes"][box]["wave"] for box in ("n1", "n2", "n3")] == [1, 2, 2]
    assert report["boxes"]["n2"]["why"] == "The golden outputs of text-risk differ."
    assert headquarters.serving("n2") == ("branch-loans-1", "good")
    assert [headquarters.serving(box) for box in ("n1", "n3")] == [("branch-loans-2", "good")] * 2
    assert [headquarters.calls(box) for box in ("n4", "n5", "s1")] == [[], [], []]


def test_every_way_to_fail_has_its_own_word_a_second_rollout_goes_on_and_boxes_go_back_when_told(
    headquarters: Headquarters,
) -> None:
    headquarters.prepare(n2="hang", n3="refuse", n4="cut")
    headquarters.fleet.unplug("n5")
    status, report = headquarters.roll_out(fleet_waves=["100%"], fleet_max_failures=3)
    assert status != 0
    verdicts = {box: said["verdict"] for box, said in report["boxes"].items()}
    assert verdicts == {"n1": "updated", "n2": "rolled back", "n3": "refused", "n4": "lost", "n5": "unreachable"}
    assert report["failed"] == ["n2", "n3", "n4"]
    assert headquarters.calls("n2") == ["update", "rollback"]
    assert headquarters.serving("n2") == ("branch-loans-1", "good")
    assert report["boxes"]["n3"]["why"] == "The disk is full. What served serves on. Tell headquarters. [PROVISION-013]"

    for box in ("n4", "n5"):
        headquarters.fleet.plug(box)
    for box in ("n2", "n3", "n4"):
        headquarters.fleet.on(box, f"cd {KIT}; rm hang refuse cut || true")
    status, report = headquarters.roll_out(fleet_waves=["100%"])
    assert status == 0
    assert report["counts"] == {"updated": 4, "current": 1}
    assert headquarters.calls("n1") == ["update"], "a box that runs it already is left alone"

    status, report = headquarters.play("rollback.yml", boxes="n1:n2")
    assert status == 0
    assert report["counts"] == {"rolled back": 2}
    assert [headquarters.serving(box)[0][-1] for box in BOXES] == ["1", "1", "2", "2", "2", "1"]


def test_a_bare_box_is_installed_from_the_archive_and_no_copy_stays_anywhere(headquarters: Headquarters) -> None:
    headquarters.prepare(n1="fail")
    headquarters.fleet.on("s1", f"rm {KIT}/record/switch.json")
    archive = str(headquarters.folder / "medium.tar")
    _, report = headquarters.roll_out(boxes="n1:s1", fleet_waves=["100%"], edgekit_source="", edgekit_archive=archive)
    assert report["counts"] == {"rolled back": 1, "updated": 1}
    assert report["failed"] == ["n1"]
    assert headquarters.calls("s1") == ["install"]
    assert headquarters.serving("s1") == ("branch-loans-2", "good")
    assert [headquarters.fleet.on(box, "ls /var/tmp") for box in ("n1", "s1")] == ["", ""]


def signed(device: str, key: Ed25519PrivateKey) -> str:
    """A report in little, as a box signs it."""
    report = {"device_id": device, "key_id": "0", "time": "2026-01-01T00:00:00+00:00"}
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    signature = base64.b64encode(key.sign(_canonical(report))).decode()
    return json.dumps({"report": report, "public_key": public, "signature": signature})


def test_a_box_is_known_by_the_key_of_its_first_inventory(headquarters: Headquarters) -> None:
    headquarters.prepare()
    inventories = headquarters.folder / "inventories"
    first, another = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    (inventories / "n2").mkdir(parents=True)
    (inventories / "n2" / "key.pem").write_text(json.loads(signed("n2", first))["public_key"], encoding="ascii")
    for box in ("n1", "n2"):
        headquarters.fleet.on(box, f"cat >{KIT}/inventory.json <<'X'\n{signed(box, another)}\nX")
    edgekit = str(Path(sys.executable).parent / "edgekit")
    _, report = headquarters.play("collect.yml", boxes="n1:n2", edgekit=edgekit, fleet_inventories=str(inventories))
    assert {box: said["verdict"] for box, said in report["boxes"].items()} == {"n1": "collected", "n2": "refused"}
    assert "PROVISION-017" in report["boxes"]["n2"]["why"]
    assert report["failed"] == ["n2"]
    assert len(list((inventories / "n1").glob("*Z.json"))) == 1
    assert not list((inventories / "n2").glob("*Z.json"))
