"""Kill -9 at many points of install, update, activate and rollback: is there always a whole slot, and does it serve?

The releases are small (``tests.devices.provision.small_bank``), the installer, slots and launcher are the real ones.
After each kill the device is started as it lies there, then the command is simply given again, and the device started
once more.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT
from devices.errors import ProvisionError
from devices.provision.slots import read_switch, verify_slot
from tests.devices.provision.small_bank import Bank
from tests.devices.provision.small_release import Launched

_TIMEOUT_S = 300


@dataclass(frozen=True)
class Phase:
    """One command that is killed.

    Attributes:
        name: For the report.
        start: The device before it; None for a bare machine.
        arguments: Of edgekit; ``ROOT`` stands for the device.
        before: The release that serves before; 0 for none.
        after: The one that serves after it.
        points: How often it is killed at a step.
        moments: How often it is killed at some moment, inside pip too.
    """

    name: str
    start: Path | None
    arguments: tuple[str, ...]
    before: int
    after: int
    points: int
    moments: int = 0


@dataclass(frozen=True)
class Killed:
    """What came of one kill.

    Attributes:
        where: Phase and point.
        problem: What was not as it has to be; empty if all was.
    """

    where: str
    problem: str


def phases(bank: Bank, scratch: Path, scale: int) -> tuple[Phase, ...]:
    """All phases, with 10 * ``scale`` points together; makes the devices that they start from."""
    bank.publish()
    medium = str(bank.pack())
    first, second = scratch / "first", scratch / "second"
    _edgekit("provision", "install", medium, "--root", str(first))
    bank.publish()
    shutil.copytree(first, second, symlinks=True)
    newer = str(bank.pack("newer"))
    _edgekit("provision", "update", "--root", str(second), newer)
    return (
        Phase("install", None, ("install", medium, "--root", "ROOT"), 0, 1, 3 * scale, scale),
        Phase("update", first, ("update", "--root", "ROOT", newer), 1, 2, 2 * scale, scale),
        Phase("activate", second, ("activate", "--root", "ROOT", "--slot", "a"), 2, 1, scale + scale // 2),
        Phase("rollback", second, ("rollback", "--root", "ROOT"), 2, 1, scale + scale // 2),
    )


def kill_everywhere(phase: Phase, scratch: Path) -> Iterator[Killed]:
    """Kill one phase at its points, spread evenly over its steps and its time."""
    root, count_file = scratch / "root", scratch / "steps"
    _fresh(phase, root)
    started = time.monotonic()
    _victim(phase, root, count_file, 0)
    took_s, steps = time.monotonic() - started, int(count_file.read_text())
    if problem := _served(root, {phase.after}, scratch):
        raise ProvisionError(f"{phase.name} does not work even undisturbed: {problem}")
    for number in range(phase.points):
        step = 1 + number * (steps - 1) // max(1, phase.points - 1)
        yield _one(phase, scratch, f"step {step} of {steps}", lambda step=step: _victim(phase, root, count_file, step))
    for number in range(phase.moments):
        delay_s = took_s * (number + 0.5) / phase.moments
        yield _one(
            phase, scratch, f"{delay_s:.2f} s", lambda delay_s=delay_s: _victim(phase, root, count_file, 0, delay_s)
        )


def _one(phase: Phase, scratch: Path, where: str, kill: Callable[[], object]) -> Killed:
    root = scratch / "root"
    _fresh(phase, root)
    kill()
    problem = ""
    if phase.before:
        problem = _served(root, {phase.before, phase.after}, scratch)
    if not problem and not _done(root, phase):
        again = _victim(phase, root, scratch / "steps", 0)
        said = (scratch / "said").read_text(errors="replace")
        problem = "" if again == 0 else f"the same command again ends with status {again}: {said[-500:]}"
    return Killed(f"{phase.name}, {where}", problem or _served(root, {phase.after}, scratch))


def _fresh(phase: Phase, root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    if phase.start is not None:
        shutil.copytree(phase.start, root, symlinks=True)


def _done(root: Path, phase: Phase) -> bool:
    """Whether a command that must not be given twice has had its effect."""
    if phase.name not in ("activate", "rollback"):
        return False
    return read_switch(root).serving.sequence == phase.after


def _served(root: Path, releases: set[int], scratch: Path) -> str:
    """Start the device as it lies there; returns what is wrong, if anything."""
    try:
        active = read_switch(root).active
        if active is None:
            return "no slot is active"
        verify_slot(root, active)
        log = scratch / "log"
        log.unlink(missing_ok=True)
        launched = Launched(root, log=log)
        try:
            release = launched.release()
        finally:
            launched.stop()
    except (ProvisionError, AssertionError, OSError) as error:
        return str(error)
    return "" if release in releases else f"release {release} serves"


def _victim(phase: Phase, root: Path, count_file: Path, step: int, delay_s: float | None = None) -> int:
    arguments = [str(root) if each == "ROOT" else each for each in ("provision", *phase.arguments)]
    command = [sys.executable, "-m", "benchmarks.devices_victim", str(step), str(count_file), *arguments]
    with count_file.with_name("said").open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said, start_new_session=True)
    try:
        return process.wait(timeout=_TIMEOUT_S if delay_s is None else delay_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def _edgekit(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "edge.cli", *arguments], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
