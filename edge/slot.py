"""One slot of a provisioned device as its server sees it: what it serves, whether it is in trial, and its health."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.errors import EdgeKitError, HealthError, SlotError
from devices.provision.notify import DRIFTED, SETTLED, Notifier
from devices.provision.slots import Layout, read_switch
from devices.provision.switch import SlotName
from edge.application import from_parts
from edge.bundle.keys import key_id, parse_public_key
from edge.bundle.manifest import POLICY_NAME, PROFILE_NAME
from edge.bundle.sample import sample_of
from edge.bundle.verify import VerifiedBundle, verify_bundle
from edge.drift import SCORES_NAME, DriftWatch, Verdict
from edge.policy import UpdatePolicy, load_policy
from edge.service import Device
from runtime.app import SentApplication
from runtime.budget import Budget
from runtime.memory import Meter, release_memory

_MB = 1024 * 1024


@dataclass(frozen=True)
class ServedSlot:
    """A slot that this process serves."""

    root: Path
    name: SlotName

    @property
    def directory(self) -> Path:
        """Where its bundle lies."""
        return Layout(self.root).bundle(self.name)

    @property
    def in_trial(self) -> bool:
        """Whether its health has to be shown before it may serve."""
        switch = read_switch(self.root)
        return switch.active == self.name and switch.slots[self.name].state == "trial"

    def bundle(self) -> VerifiedBundle:
        """The bundle, verified with the keys that its release names, with the bank's own profile if there is one.

        Raises:
            BundleError: As of ``verify_bundle``.
            SlotError: The slot's release says nothing of keys.
        """
        layout = Layout(self.root)
        verified = verify_bundle(layout.bundle(self.name), self._keys())
        if not layout.profile.exists():
            return verified
        return replace(verified, files={**verified.files, PROFILE_NAME: layout.profile.read_bytes()})

    def watched(self, device: Device, bundle: VerifiedBundle) -> Device:
        """``device`` with its slot in the status and its scores compared; a release in trial is healthy first.

        Raises:
            HealthError: A release in trial is not.
        """
        if self.in_trial:
            check_health(device, bundle)
        services = device.services
        drift = self._drift_watch(load_policy(bundle.files[POLICY_NAME]).update)

        def score(sent: SentApplication, budget: Budget) -> dict[str, Any]:
            receipt = services.score(sent, budget)
            drift.add(receipt["score"])
            return receipt

        def status() -> dict[str, Any]:
            return {**services.status(), "slot": self.status()}

        return replace(device, services=replace(services, score=score, status=status))

    def status(self) -> dict[str, Any]:
        """For ``/v1/status``."""
        try:
            switch = read_switch(self.root)
        except EdgeKitError as error:
            return {"slot": self.name, "error": error.as_dict()}
        slot = switch.slots[self.name]
        watched = switch.watch is not None and switch.watch.slot == self.name
        return {
            "slot": self.name,
            "release": slot.release,
            "sequence": slot.sequence,
            "state": slot.state,
            "watched": watched,
        }

    def _drift_watch(self, policy: UpdatePolicy) -> DriftWatch:
        switch, fresh = read_switch(self.root), self.in_trial
        against = None
        if fresh and switch.fallback:
            against = switch.slots[switch.fallback].release
        elif switch.watch is not None and switch.watch.slot == self.name:
            against = switch.watch.against
        notifier = Notifier.from_environment()

        def tell(verdict: Verdict) -> None:
            notifier.send(**{DRIFTED if verdict.drifted else SETTLED: verdict.why})

        path = Layout(self.root).state / SCORES_NAME
        release = switch.slots[self.name].release
        return DriftWatch(path, release, policy, against=against, fresh=fresh, on_verdict=tell)

    def _keys(self) -> Mapping[str, Ed25519PublicKey]:
        path = Layout(self.root).release(self.name)
        try:
            pems = [str(pem).encode() for pem in json.loads(path.read_bytes())["bundle"]["keys"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SlotError(f"Slot {self.name}: {path.name} names no keys of the bundle's signer.") from error
        keys = [parse_public_key(pem, f"A key in {path}") for pem in pems]
        return {key_id(key): key for key in keys}


def check_health(device: Device, bundle: VerifiedBundle) -> None:
    """What a release in trial has to show once its models are loaded, proven and warm.

    The sample application is scored, if the bundle brings one under ``sample/``, and memory is under the profile's
    ceiling.

    Raises:
        HealthError: It does not.
    """
    try:
        if (sample := sample_of(bundle)) is not None:
            device.scorer.score(from_parts(sample.application, sample.files))
    except EdgeKitError as error:
        raise HealthError(f"The sample application cannot be scored: {error.problem} ({error.code})") from error
    release_memory()  # what loading leaves behind is not what serving takes
    reading, limits = Meter().read(), device.profile.serve
    for what, used_bytes, limit_mb in (
        ("memory", reading.rss_bytes, limits.memory_limit_mb),
        ("GPU memory", reading.gpu_bytes, limits.gpu_memory_limit_mb),
    ):
        if used_bytes is not None and limit_mb is not None and used_bytes > limit_mb * _MB:
            raise HealthError(
                f"After loading, the release takes {used_bytes // _MB} MB of {what}; the profile "
                f"{device.profile.name} allows {limit_mb} MB."
            )
