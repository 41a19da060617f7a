"""Slots, the switch between them, and installing into one. Classes for slots have codes below PROVISION-010."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


class ProvisionError(EdgeKitError):
    """This device could not be provisioned, or is not provisioned at all."""

    code = "PROVISION-001"
    exit_code = 14
    default_state = "What served before serves on."


class SwitchError(ProvisionError):
    """The record of the slots is lost, or does not allow what was asked."""

    code = "PROVISION-002"


class SlotError(ProvisionError):
    """A file of a slot was changed, is missing, or is one too many; or the slot was never completed."""

    code = "PROVISION-003"
    default_remedy = "Install the release again: 'edgekit provision install MEDIUM'."


class LockedError(ProvisionError):
    """Another command is changing this device."""

    code = "PROVISION-004"
    default_state = "This command changed nothing."
    default_remedy = "Wait until the other command has ended, then run this one again."


class HealthError(ProvisionError):
    """A release in trial does not do on this device what it has to do."""

    code = "PROVISION-005"
    default_state = "The release is not used; the device goes back to the one before, if there is one."
    default_remedy = "Report the release and this message to headquarters."
