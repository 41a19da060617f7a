"""From a verified offer to a slot that serves: what ``provision install`` and ``provision update`` both do.

The order, and what a power cut in each part leaves:
 1. check the offer (TUF); nothing is written but verified metadata
 2. check the room, then fetch what this device lacks into ROOT/download; kept, and gone on with next time
 3. build the inactive slot and seal it; half of one is cleared next time, the active one is never touched
 4. activate: one rename, after which the new slot is in trial
 5. wait for the verdict; the launcher decides it and goes back by itself, with or without this process
So the command may be killed at any point and simply be started again.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from devices.clock import CLOCK_NAME, Clock
from devices.errors import (
    HealthError,
    MediumMismatchError,
    SlotError,
    UpdateRollbackError,
)
from devices.provision.bootstrap import Refusal, check_machine
from devices.provision.environment import (
    PYTHON_VERSION,
    box_python,
    build_environment,
    change_environment,
    copy_environment,
)
from devices.provision.environment import unpacked_bytes as unpacked
from devices.provision.inventory import Check, Deployment, in_trial, record_deployment
from devices.provision.lock import installer_lock
from devices.provision.package import install_launcher
from devices.provision.plan import Plan, make_plan
from devices.provision.slots import (
    Layout,
    activate_slot,
    begin_slot,
    change,
    complete_slot,
    read_switch,
    seal_slot,
    verify_slot,
)
from devices.provision.space import check_space, taken_bytes, writing
from devices.provision.switch import COMPLETE, SLOT_NAMES, SlotName, Switch, give_up_damaged, inactive, roll_back
from devices.provision.trial import await_verdict
from devices.provision.units import UNIT_NAME
from devices.provision.wheelhouse import GLIBC, LOCK_NAME, PIP, PYTHON_TAR
from devices.update.client import Offer, UpdateClient
from devices.update.release import Release

Progress = Callable[[str, float], None]
"""Gets the name of a step and the share of all steps that is done."""


@dataclass(frozen=True)
class Order:
    """What to install, from where, and for whom the record is.

    Attributes:
        source: Directory or ``https://`` URL of a repository or its export.
        named: The source as the operator named it, for the record.
        region: Whose channel.
        device_class: Of this device in that region.
        grace: How long expired metadata may be used.
        crashes: From a bundle's directory, how many failed starts of a trial its policy allows.
        by: The account that gives the order.
        action: For the record.
        ca_file: For HTTPS.
    """

    source: str | Path
    named: str
    region: str
    device_class: str
    grace: timedelta
    crashes: Callable[[Path], int]
    by: str
    action: Literal["install", "update"]
    ca_file: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What an order came to.

    Attributes:
        release: What serves now.
        slot: Where it is.
        changed: Whether it is another one than before.
        before: What served until then; empty on a new device.
        fetched_bytes: What travelled.
        environment: How the slot's environment was made: ``built``, ``changed``, ``copied``; empty if it was there.
        checks: What was checked, in order.
        freshness: How old the signed metadata is, in a sentence.
    """

    release: Release
    slot: SlotName
    changed: bool
    before: str
    fetched_bytes: int
    environment: str
    checks: tuple[Check, ...]
    freshness: str


def carry_out(root: Path, order: Order, progress: Progress = lambda step, share: None) -> Outcome:
    """Bring the device in ``root`` to the release that its channel points at.

    ``ROOT/trust/root.json`` is pinned already.

    Raises:
        UpdateError: The source or what it offers is not to be trusted, or is older than what serves.
        MediumMismatchError: It is for another architecture or Python.
        SpaceError: The disk is too small, or full.
        RootNotWritableError: It cannot be written.
        LockedError: Another command changes this device.
        EnvironmentFailedError: The environment could not be made.
        HealthError: The release does not serve here; the device went back, or never served.
    """
    with writing(root), installer_lock(root):
        return _Installation(root, order, progress).run()


class _Installation:
    """One order on one device; holds what its steps hand on."""

    def __init__(self, root: Path, order: Order, progress: Progress) -> None:
        self.root, self.order, self.progress = root, order, progress
        self.layout = Layout(root)
        self.download = root / "download"
        self.clock = Clock(self.layout.state / CLOCK_NAME)
        self.checks: list[Check] = []
        self.fetched = 0

    def run(self) -> Outcome:
        self.progress("check", 0.0)
        client = UpdateClient(
            self.layout.trust,
            self.order.source,
            clock=self.clock,
            grace=self.order.grace,
            ca_file=self.order.ca_file,
        )
        offer = client.check(self.order.region, self.order.device_class)
        release, name = offer.release, f"{offer.release.name}-{offer.release.sequence}"
        self._note("signed", f"Release {name} is signed by headquarters and chosen by {offer.channel.path}.")
        self._note("fresh", offer.freshness.sentence)
        before = self._leave_damaged_slot()
        self._refuse_older(before, offer)
        self._refuse_other_machines(release)
        how, slot = "", before.active
        if slot is None or before.slots[slot].release != name or self._damage(slot):
            slot = inactive(before)
            kept = before.slots[slot].state if before.slots[slot].release == name else "empty"
            if kept in COMPLETE and self._damage(slot):
                kept = "empty"  # this copy of the release is worn, which says nothing against the release
            if kept == "bad":
                raise HealthError(
                    f"Release {name} was tried on this device before and given up: {before.slots[slot].why}",
                    state="Nothing was changed; what served before serves on.",
                    remedy="Wait for the next release, or try it again with 'edgekit provision activate'.",
                )
            if kept not in ("ready", "good"):
                how = self._build(client, release, name)
            # here and not at the end of building: a slot may be complete already, by a command that was killed
            install_launcher(self.root, str(self._interpreter(release)))
            shutil.rmtree(self.download, ignore_errors=True)
            self._forget_other_pythons()
            self._record(release, slot, before, "trial")  # who and when is kept even if the power fails from here on
            activate_slot(self.root, slot, crashes=self.order.crashes(self.layout.bundle(slot)))
        elif before.slots[slot].state == "good":
            if in_trial(self.root, name):
                self._record(release, slot, before, "good")
            return self._outcome(offer, slot, before, how)
        return self._try(offer, slot, before, how)

    def _leave_damaged_slot(self) -> Switch:
        """A damaged active slot gives way to the other one, if that is whole: or building would clear the only one."""
        switch = read_switch(self.root)
        if switch.active is None or not (damage := self._damage(switch.active)):
            return switch
        back = inactive(switch)
        if switch.slots[back].state not in COMPLETE or self._damage(back):
            return switch
        good = switch.slots[back].state == "good"
        return change(self.root, lambda s: roll_back(s, damage) if good else give_up_damaged(s, damage))

    def _damage(self, slot: SlotName) -> str:
        """What is wrong with the files of a slot; empty if every byte is as it was sealed."""
        try:
            verify_slot(self.root, slot)
        except SlotError as error:
            return error.problem
        return ""

    def _refuse_other_machines(self, release: Release) -> None:
        """A medium says for which machines it is; what comes over a line is known by its release alone."""
        environment = release.environment
        wanted = {
            "arch": release.arch,
            "profile": ", ".join(release.profiles),
            "glibc": GLIBC[release.arch],
            "python": environment.python if environment else PYTHON_VERSION,
            "interpreter": PYTHON_TAR in release.files,
        }
        try:
            check_machine(wanted)
        except Refusal as refusal:
            raise MediumMismatchError(refusal.problem, state=refusal.state, remedy=refusal.remedy) from refusal

    def _refuse_older(self, before: Switch, offer: Offer) -> None:
        if before.active is None:
            return
        sequence = before.serving.sequence
        if offer.release.sequence < sequence and not offer.channel.allow_downgrade:
            raise UpdateRollbackError(
                f"{offer.channel.path} points at release {offer.release.name}-{offer.release.sequence}, but this "
                f"device runs the later {before.serving.release}, and no permission to go back is signed.",
                remedy="If that is wanted, headquarters signs it: 'edgekit repo publish --allow-downgrade'; to go back "
                "to the other slot, use 'edgekit provision rollback'.",
            )

    def _build(self, client: UpdateClient, release: Release, name: str) -> str:
        """Fill the inactive slot; returns how its environment was made."""
        switch = read_switch(self.root)
        plan = make_plan(release, self.layout, inactive(switch), self._running(switch))
        self._check_room(plan)
        self.progress("fetch", 0.05)
        self._forget_other_downloads(plan)
        here = {sha256 for sha256 in plan.blobs if (self.download / sha256).exists() or sha256 in plan.have}
        files = client.fetch(plan.blobs, self.download, plan.have)
        self.fetched = sum(size for sha256, size in plan.blobs.items() if sha256 not in here)
        self._note("files", f"{len(files)} files have the signed hashes; {self.fetched} bytes of them travelled.")
        wheels = self._named_wheels(plan, files)
        if plan.environment == "built":
            check_space(
                self.root,
                {"bundle": plan.bundle_bytes, "environment": unpacked(wheels)},
                freed=taken_bytes(self.layout.slot(plan.slot)),
            )
        slot = begin_slot(self.root, name, release.sequence)
        self.progress("build", 0.15)
        self._write(plan, release, files)
        self._environment(plan, slot, wheels, files)
        self.progress("seal", 0.7)
        os.sync()  # at once, so that sealing does not wait for each of some thousand files
        seal_slot(self.root, slot)
        complete_slot(self.root, slot)
        return plan.environment

    def _running(self, switch: Switch) -> Release | None:
        """The release in the active slot, if it may be copied from: every byte of it as it was sealed."""
        if switch.active is None or self._damage(switch.active):
            return None
        try:
            return Release.model_validate_json(self.layout.release(switch.active).read_bytes())
        except ValueError:
            return None

    def _check_room(self, plan: Plan) -> None:
        parts = {
            "download": sum(size for sha256, size in plan.blobs.items() if sha256 not in plan.have),
            "bundle": plan.bundle_bytes,
            "environment": plan.environment_bytes,
        }
        freed = taken_bytes(self.layout.slot(plan.slot)) + taken_bytes(self.download)
        check_space(self.root, parts, freed=freed)

    def _forget_other_downloads(self, plan: Plan) -> None:
        if self.download.exists():
            for path in self.download.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name.partition(".")[0] not in plan.blobs:
                    path.unlink()

    def _named_wheels(self, plan: Plan, files: dict[str, Path]) -> list[Path]:
        """The wheels to install under names that pip can read; pip's own beside them."""
        folder = self.download / "wheels"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, sha256 in plan.wheels.items():
            (folder / name).symlink_to(files[sha256])
        return sorted(path for path in folder.iterdir() if not path.name.startswith(f"{PIP}-"))

    def _write(self, plan: Plan, release: Release, files: dict[str, Path]) -> None:
        for path, blob in release.bundle.files.items():
            target = self.layout.bundle(plan.slot) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[blob.sha256], target)
        self.layout.release(plan.slot).write_bytes(release.to_bytes())
        if release.environment is not None:
            shutil.copyfile(files[release.environment.lock.sha256], self.layout.slot(plan.slot) / LOCK_NAME)

    def _environment(self, plan: Plan, slot: SlotName, wheels: list[Path], files: dict[str, Path]) -> None:
        interpreter = self._interpreter(plan.release)
        if not interpreter.exists():
            archive = files[plan.release.files[PYTHON_TAR].sha256]
            _unpack_python(archive, interpreter.parent.parent)
        target = self.layout.environment(slot)
        pip = next((self.download / "wheels").glob(f"{PIP}-*.whl"), Path())
        if plan.environment == "built":
            build_environment(target, wheels, pip=pip, interpreter=interpreter)
        elif plan.environment == "changed" and plan.source is not None:
            change_environment(plan.source, target, remove=plan.remove, wheels=wheels, pip=pip, interpreter=interpreter)
        elif plan.source is not None:
            copy_environment(plan.source, target, interpreter=interpreter)

    def _interpreter(self, release: Release) -> Path:
        """The Python that runs the release: the machine's own, or the one that came with it."""
        carried = release.files.get(PYTHON_TAR)
        if carried is None:
            return box_python()
        return self.root / "python" / carried.sha256[:12] / "bin" / box_python().name

    def _forget_other_pythons(self) -> None:
        """Remove what came with releases that are gone; the service's own stays, whatever the slots run on."""
        links = (self.layout.python(name) for name in SLOT_NAMES)
        used = {str(link.readlink()) for link in links if link.is_symlink()}
        unit = self.root / "units" / UNIT_NAME
        text = unit.read_text(encoding="utf-8") if unit.exists() else ""
        for python in (self.root / "python").glob("*"):
            if not any(each.startswith(f"{python}/") for each in used) and f"{python}/" not in text:
                shutil.rmtree(python)

    def _try(self, offer: Offer, slot: SlotName, before: Switch, how: str) -> Outcome:
        self.progress("trial", 0.8)
        try:
            await_verdict(self.root, slot, python=self._interpreter(offer.release))
        except HealthError as error:
            self._note("health", error.problem, passed=False)
            self._record(offer.release, slot, before, "bad")
            raise
        self._note("health", "The server passed its own checks: files, golden set, memory, readiness.")
        self.progress("trial", 1.0)
        outcome = self._outcome(offer, slot, before, how)
        self._record(offer.release, slot, before, "good")
        return outcome

    def _outcome(self, offer: Offer, slot: SlotName, before: Switch, how: str) -> Outcome:
        previous = before.serving.release if before.active else ""
        return Outcome(
            release=offer.release,
            slot=slot,
            changed=previous != f"{offer.release.name}-{offer.release.sequence}",
            before=previous,
            fetched_bytes=self.fetched,
            environment=how,
            checks=tuple(self.checks),
            freshness=offer.freshness.sentence,
        )

    def _note(self, name: str, detail: str, *, passed: bool = True) -> None:
        self.checks.append(Check(name, passed, detail))

    def _record(self, release: Release, slot: SlotName, before: Switch, result: str) -> None:
        record_deployment(
            self.root,
            Deployment(
                time=self.clock.now().isoformat(timespec="seconds"),
                by=self.order.by,
                action=self.order.action,
                source=self.order.named,
                release=f"{release.name}-{release.sequence}",
                slot=slot,
                before=before.serving.release if before.active else "",
                result=result,
                checks=tuple(self.checks),
            ),
        )


def _unpack_python(archive: Path, target: Path) -> None:
    """A Python that a medium carries, whole or not at all; its files were verified with the archive."""
    draft = target.with_name(f"{target.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        tar.extractall(draft, filter="tar")  # noqa: S202  # signed by headquarters, and refused outside draft
    os.sync()
    draft.rename(target)
