"""``./build.sh bench fleet``: a rollout over twenty boxes, two of which cannot run the new release.

Real Ansible, sshd, media and kit; the boxes are namespaces of this machine (benchmarks.fleet_hosts). The kit is
installed once, on a bare box; the others begin with a copy of it, each with its own changes above the same files.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any

from benchmarks.fleet_hosts import KIT, Fleet, missing, python
from benchmarks.harness import ROOT, Figure, Goal, Progress, Report, Row

BOXES = tuple(f"north-{number:02}" for number in range(1, 21))
WEAK = ("north-04", "north-07")  # both in the second wave
WAVES = ("10%", "30%", "100%")
WEAK_BYTES = 300_000_000  # address space of every process that is started on a weak box from now on
BUNDLE = ROOT / "demo-out" / "bundle"
BIN = Path(sys.executable).parent


# a box's own supervisor; its process number is kept for whoever wants to take its memory away
_SERVE = f"cd {KIT}; while true; do {{python}} -I launcher.pyz . & echo $! >/run/launcher; wait $!; sleep 1; done"


@dataclass
class Headquarters:
    """The repository, its media, and a place for reports."""

    folder: Path
    profile: str

    def edgekit(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a command of the kit.

        Raises:
            RuntimeError: It failed.
        """
        result = run([BIN / "edgekit", *arguments, "--json"], capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(result.stdout + result.stderr)
        return dict(json.loads(result.stdout))

    def prepare(self) -> None:
        """An empty repository with one region, and the wheels."""
        self.edgekit("repo", "init", self.folder / "repo", "--keys", self.folder / "keys")
        self.edgekit("repo", "delegate", self.folder / "repo", "north", "--keys", self.folder / "keys")
        self.edgekit("provision", "wheels", "--profile", self.profile, "--out", self.folder / "wheels")

    def publish(self) -> tuple[str, Path]:
        """The next release, and its medium packed by the playbook."""
        wheels = self.folder / "wheels"
        self.edgekit(
            *("repo", "publish", self.folder / "repo", "--keys", self.folder / "keys", "--bundle", BUNDLE),
            *("--wheels", wheels, "--lock", wheels / "requirements.lock", "--region", "north", "--class", "kiosk"),
        )
        number = len(list(self.folder.glob("medium-*.tar"))) + 1
        medium = self.folder / f"medium-{number}"
        variables = {"profile": self.profile, "repo": self.folder / "repo", "channel": "north/kiosk", "medium": medium}
        done = _play(None, self.folder, "pack.yml", edgekit=BIN / "edgekit", **variables)
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return json.loads((medium / "medium.json").read_bytes())["release"], medium

    def roll_out(self, fleet: Fleet, release: str, **variables: object) -> tuple[CompletedProcess[str], dict[str, Any]]:
        """What Ansible said, and the report."""
        return self.play(fleet, "rollout.yml", edgekit_release=release, fleet_waves=WAVES, **variables)

    def play(self, fleet: Fleet, playbook: str, **variables: object) -> tuple[CompletedProcess[str], dict[str, Any]]:
        """Run a playbook over the north."""
        inventory = fleet.inventory({"north": fleet.names}, edgekit_root=KIT)
        (self.folder / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
        before = set((self.folder / "reports").glob("*.json"))
        done = _play(fleet, self.folder, playbook, boxes="north", **variables)
        written = sorted(set((self.folder / "reports").glob("*.json")) - before)
        if not written:
            raise RuntimeError(done.stdout + done.stderr)
        return done, json.loads(written[-1].read_bytes())


def _play(fleet: Fleet | None, folder: Path, playbook: str, **variables: object) -> CompletedProcess[str]:
    command: list[str | Path] = [BIN / "ansible-playbook", playbook, "-e", json.dumps(variables, default=str)]
    environment = {
        "FLEET_REPORTS": str(folder / "reports"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "LC_ALL": "C.UTF-8",
    }
    place = ROOT / "fleet" / "ansible"
    if fleet is not None:
        return fleet.run(*command, "-i", folder / "inventory.yml", cwd=place, environment=environment)
    return run(command, capture_output=True, text=True, cwd=place, env={**os.environ, **environment}, check=False)


def measure(report: Report, progress: Progress, boxes: Sequence[str] = BOXES, weak: Sequence[str] = WEAK) -> None:
    """One bare box, then the rollout."""
    reason = missing() or ("" if (BUNDLE / "manifest.json").is_file() else "there is no demo bundle: ./build.sh demo")
    if reason:
        report.add(Row("a rollout stops", None, note=f"Not measured: {reason}."))
        return
    with tempfile.TemporaryDirectory(prefix="edgekit-fleet-") as name:
        folder = Path(name)
        hq = Headquarters(folder, json.loads((BUNDLE / "manifest.json").read_bytes())["profile"])
        progress("prepare", 0.0)
        hq.prepare()
        kit = _install_one(report, hq, folder)
        progress("prepare", 1.0)
        _roll_out(report, progress, hq, kit, boxes, weak)


def _install_one(report: Report, hq: Headquarters, folder: Path) -> Path:
    release, medium = hq.publish()
    with Fleet(folder / "first", ["first"]) as fleet:
        start = time.monotonic()
        done, said = hq.roll_out(fleet, release, edgekit_archive=f"{medium}.tar")
        seconds = time.monotonic() - start
        if said["counts"] != {"updated": 1}:
            raise RuntimeError(f"{said}{done.stdout}{done.stderr}")
        kit = fleet.disk("first") / KIT[1:]
    shutil.rmtree(medium)
    Path(f"{medium}.tar").unlink()
    (kit / "state" / "keys" / "device.pem").unlink()  # every box makes its own
    note = "From the packed medium as one file, over ssh, until the release passed its trial."
    report.add(Row("A bare box is installed by the playbook", Figure.exact(round(seconds, 1)), "s", note=note))
    return kit


def _roll_out(
    report: Report, progress: Progress, hq: Headquarters, kit: Path, boxes: Sequence[str], weak: Sequence[str]
) -> None:
    release, medium = hq.publish()
    Path(f"{medium}.tar").unlink()
    serve = _SERVE.format(python=python())
    with Fleet(hq.folder / "boxes", boxes, kit=kit, stick=medium, program=serve) as fleet:
        for number, box in enumerate(boxes):
            progress("start", number / len(boxes))
            _wait_until_it_serves(fleet, box)
        for box in weak:
            fleet.on(box, f"prlimit --pid $(cat /run/launcher) --as={WEAK_BYTES}")
        progress("roll out", 0.0)
        start = time.monotonic()
        done, said = hq.roll_out(fleet, release, edgekit_source="/media/edgekit")
        seconds = time.monotonic() - start
        progress("roll out", 1.0)
        records = {box: json.loads(fleet.on(box, f"cat {KIT}/record/switch.json")) for box in boxes}
        answering = sum(_serves(fleet, box) for box in boxes)
        collected = hq.play(fleet, "collect.yml", edgekit=BIN / "edgekit", fleet_inventories=hq.folder / "inventories")[
            1
        ]["counts"].get("collected", 0)
    report.details |= {"report": said, "seconds": round(seconds), "exit_status": done.returncode}
    back = [name for name, box in said["boxes"].items() if box["verdict"] == "rolled back"]
    whys = "; ".join(f"{name}: {said['boxes'][name]['why']}" for name in back)
    first, second = (round(len(boxes) * share) for share in (0.1, 0.3))
    begun = len(said["boxes"])
    good = sum(record["slots"][record["active"]]["state"] == "good" for record in records.values())
    serving = {box: record["slots"][record["active"]]["release"] for box, record in records.items()}
    true = all(serving[name] == box["release"] for name, box in said["boxes"].items())  # what the boxes say themselves
    right = float(true and set(back) == set(weak) == set(said["failed"]) and done.returncode == 2)
    note = f"Waves of {', '.join(WAVES)}; more than 1 failure stops. {said['counts']}, {seconds:.0f} s. {whys}"
    report.add(
        Row(
            f"{len(weak)} of {len(boxes)} boxes fail: rolled back",
            Figure.exact(len(back)),
            "boxes",
            Goal(len(weak)),
            note,
        )
    )
    report.add(
        Row(
            "The report names just these, says what each box serves, and the rollout ends as failed",
            Figure.exact(right),
            "",
            Goal(1),
        )
    )
    report.add(Row("Boxes begun before it stopped", Figure.exact(begun), "boxes", Goal(first + second, at_least=False)))
    report.add(Row("Boxes with a good release in the active slot", Figure.exact(good), "boxes", Goal(len(boxes))))
    report.add(Row("Boxes that answer /v2/health/ready", Figure.exact(answering), "boxes", Goal(len(boxes))))
    report.add(Row("Signed inventories collected and verified", Figure.exact(collected), "boxes", Goal(len(boxes))))


def _serves(fleet: Fleet, box: str) -> bool:
    ask = "from urllib.request import urlopen as u; u('http://127.0.0.1:8808/v2/health/ready', timeout=20)"
    return "yes" in fleet.on(box, f'{python()} -c "{ask}" 2>/dev/null && echo yes || true')


def _wait_until_it_serves(fleet: Fleet, box: str) -> None:
    deadline = time.monotonic() + 600
    while not _serves(fleet, box):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{box} does not serve: {fleet.on(box, 'tail -c 2000 /var/log/fleet-program.log')}")
        time.sleep(1)
