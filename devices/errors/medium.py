"""Media and what is installed from them. Classes have codes from PROVISION-010 on."""

from __future__ import annotations

from devices.errors.provision import ProvisionError


class MediumError(ProvisionError):
    """What was named is no medium, or it cannot be read."""

    code = "PROVISION-010"
    default_state = "Nothing was installed; what served before serves on."
    default_remedy = "Copy the medium again from headquarters, and run the command again."


class MediumDamagedError(MediumError):
    """A file of a medium is not as it was packed; the message names it."""

    code = "PROVISION-011"


class MediumMismatchError(MediumError):
    """A medium for another kind of device."""

    code = "PROVISION-012"
    default_remedy = "Ask headquarters for the medium that is marked for this kind of device."


class SpaceError(ProvisionError):
    """The disk is too small for two slots and a download, or it is full."""

    code = "PROVISION-013"
    default_state = "Nothing was installed; what served before serves on."
    default_remedy = "Free some room on that disk, or have a larger one put in, and run the command again."


class RootNotWritableError(ProvisionError):
    """The device's directory cannot be written: the disk is read-only, or the user may not."""

    code = "PROVISION-014"
    default_state = "Nothing was installed; what served before serves on."
    default_remedy = "Run the command as root, or name a directory of your own with --root."


class EnvironmentFailedError(ProvisionError):
    """The Python environment of a slot could not be made."""

    code = "PROVISION-015"
    default_state = "The slot under construction was given up; what served before serves on."
    default_remedy = "Report the message with its code to headquarters: the medium does not fit this device."


class PackError(ProvisionError):
    """A medium, or the wheels for it, cannot be made."""

    code = "PROVISION-016"
    default_state = "No medium was written."
    default_remedy = "Correct what the message names, and run the command again."


class InventoryError(ProvisionError):
    """An inventory report is malformed, or its signature does not fit."""

    code = "PROVISION-017"
    default_state = "The report is not to be relied on."
    default_remedy = "Collect the report from the device again; if that does not help, look at the device."
