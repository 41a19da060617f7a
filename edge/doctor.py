"""``device doctor``: everything that would keep this device from serving, and then the proof that it can.

Nothing is changed, nothing is sent. The checks of the machine are ``devices.doctor``'s; here are those that need a
bundle, and the order in which a person reads them.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices.clock import CLOCK_NAME, Clock
from devices.doctor.check import Check, worst
from devices.doctor.machine import (
    check_backends,
    check_clock,
    check_gpu,
    check_int8,
    check_machine,
    check_memory,
    check_profile,
    check_python,
    check_time_zone,
    check_tpm,
)
from devices.doctor.place import check_file_system, check_permission, check_room, size_mb
from devices.doctor.processes import check_leftovers, check_port, running
from devices.doctor.slots import active_slot, check_interpreter, check_slots
from devices.doctor.wheels import check_wheels
from devices.errors import EdgeKitError
from devices.match import best
from devices.probe import Facts, full_int8, probe
from devices.profile import Profile, known_profiles, load_profile, parse_profile
from devices.provision.environment import PYTHON_VERSION
from devices.provision.slots import Layout
from devices.state import state_dir
from edge.bundle.keys import trusted_keys
from edge.bundle.manifest import PROFILE_NAME
from edge.bundle.parts import Part, bundle_file, parts_of
from edge.bundle.verify import VerifiedBundle, verify_bundle
from edge.golden import GoldenRun, run_golden_set
from edge.slot import ServedSlot

_ENVIRONMENT_MB = 450  # of the serving set, where none is there to be measured
_BUNDLE_MB = 50  # where none is there to be measured


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Attributes:
        checks: In the order of their codes, the golden set last.
        golden: Every model on every backend; empty where no bundle was looked at.
        can_serve: False if a check stops it, True if a bundle's models ran as they should, None if none was looked at.
    """

    checks: tuple[Check, ...]
    golden: tuple[GoldenRun, ...]
    can_serve: bool | None

    @property
    def sentence(self) -> str:
        """The last line: can this device serve?"""
        stops = [check for check in self.checks if check.state == "stop"]
        attention = sum(check.state == "attention" for check in self.checks)
        care = f" {attention} point{'s need' if attention > 1 else ' needs'} attention." if attention else ""
        if stops:
            named = ", ".join(f"{check.name} {check.code}" for check in stops)
            return f"This device cannot serve: {named}.{care}"
        if self.can_serve is None:
            return f"Nothing speaks against this device; name a bundle (--bundle, --root) to see it serve.{care}"
        return f"This device can serve.{care}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "can_serve": self.can_serve,
            "sentence": self.sentence,
            "checks": [check.as_dict() for check in self.checks],
            "golden": [run.as_dict() for run in self.golden],
        }


@dataclass(frozen=True)
class _Opened:
    """A bundle as far as it could be read."""

    check: Check | None = None
    profile: Profile | None = None
    parts: Sequence[Part] = ()


def diagnose(
    *,
    root: Path | None = None,
    bundle: Path | None = None,
    profile: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8808,
) -> Diagnosis:
    """Look at everything. Takes seconds without a bundle, up to a minute with one.

    Args:
        root: Of a provisioned device, or where one shall be installed.
        bundle: To be served; by default the one in the root's active slot.
        profile: Name or path, to be judged instead of the bundle's own, or of the root's ``profile.toml`` where the
            bank put one there.
        host: Where it shall listen.
        port: Where it shall listen.

    Raises:
        DeviceError: The machine cannot be examined at all.
        ProfileError: ``profile`` names none, or one of the known ones is malformed.
    """
    layout = Layout(root) if root is not None else None
    state = layout.state if layout else state_dir()
    place = root or state
    slot = active_slot(root) if root is not None else None
    facts, known = probe(place), known_profiles()
    opened, site = _Opened(), Path(sysconfig.get_path("purelib"))
    if layout and slot:
        site = layout.environment(slot) / "lib" / f"python{PYTHON_VERSION}" / "site-packages"
    if bundle is not None:
        given = bundle
        opened = _open(lambda: verify_bundle(given, trusted_keys()))
    elif layout and slot:
        bundle, opened = layout.bundle(slot), _open(ServedSlot(layout.root, slot).bundle)
    chosen = load_profile(profile) if profile else opened.profile or best(facts, known)
    processes = running()
    checks = [
        check_machine(facts),
        worst(check_python(facts), check_interpreter(root, slot) if root and slot else None),
        check_wheels(site, python=facts.python, libc=facts.libc, arch=facts.arch),
        check_profile(facts, chosen, known),
        check_int8(facts, chosen, _full_range(opened.parts)),
        check_backends(facts, chosen),
        check_memory(facts, chosen),
        _room(facts, bundle, place, root / "slots" if root else None, site if slot else None),
        check_file_system(facts.file_system, place),
        check_permission(place, state),
        check_clock(Clock(state / CLOCK_NAME).peek()),
        check_time_zone(facts),
        check_port(processes, host, port),
        check_leftovers(processes, root),
        check_gpu(facts, chosen),
        check_tpm(facts),
        *([check_slots(root)] if root is not None else []),
        *([opened.check] if opened.check else []),
    ]
    runs: tuple[GoldenRun, ...] = ()
    if opened.parts:
        runs = tuple(run_golden_set(opened.parts, chosen.serve, full_int8=full_int8(facts)))
        checks += golden_checks(runs)
    stopped = any(check.state == "stop" for check in checks)
    return Diagnosis(tuple(checks), runs, False if stopped else True if runs else None)


def golden_checks(runs: Sequence[GoldenRun]) -> list[Check]:
    """DOCTOR-019: one check a run. A model that no backend computes right stops the device.

    One that the profile's first backend does not compute right, but a later one does, needs attention: it serves, more
    slowly. A backend behind the one that serves is never asked.
    """
    if not runs:
        return [
            Check(
                "DOCTOR-019",
                "attention",
                "The bundle holds no golden outputs, so nothing shows that its models run here as they should.",
                "Ask headquarters to compress the models again with this kit.",
            )
        ]
    checks = []
    served: set[str] = set()
    for run in runs:
        if run.passed or run.model in served:
            checks.append(Check("DOCTOR-019", "ok", run.sentence))
            served.add(run.model)
            continue
        later = any(other.passed and other.model == run.model for other in runs)
        checks.append(
            Check(
                "DOCTOR-019",
                "attention" if later else "stop",
                run.sentence,
                "The next backend serves this model; ask headquarters for the bundle of this device's profile."
                if later
                else "Ask headquarters for the bundle of this device's profile ('edgekit device match' names it).",
            )
        )
    return checks


def _open(verify: Callable[[], VerifiedBundle]) -> _Opened:
    """Verify a bundle and read what serving it would need."""
    try:
        verified = verify()
        profile = parse_profile(bundle_file(verified, PROFILE_NAME), PROFILE_NAME)
        parts = parts_of(verified)
        for part in parts:
            for entry in part.artifact.models:
                part.model(entry)
                part.golden(entry)
    except EdgeKitError as error:
        return _Opened(Check("DOCTOR-018", "stop", f"{error.problem} [{error.code}]", error.remedy))
    manifest = verified.manifest
    sentence = (
        f"Bundle {manifest.name} {manifest.version}: {len(manifest.files)} files are what key {verified.key_id} signed."
    )
    return _Opened(Check("DOCTOR-018", "ok", sentence), profile, parts)


def _full_range(parts: Sequence[Part]) -> list[str]:
    entries = [entry for part in parts for entry in part.artifact.models]
    return [entry.name for entry in entries if entry.int8 and not entry.reduce_range]


def _room(facts: Facts, bundle: Path | None, place: Path, slots: Path | None, site: Path | None) -> Check:
    environment = size_mb(site) if site else _ENVIRONMENT_MB
    of_bundle = size_mb(bundle) if bundle else _BUNDLE_MB
    held = size_mb(slots) if slots else 0
    return check_room(facts.disk_free_mb, environment + of_bundle, held_mb=held, place=place)
