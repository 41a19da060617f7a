"""Media, installations and what they are made from."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


class MediumError(EdgeKitError):
    """A medium cannot be read, or is none."""

    code = "PROVISION-020"
    exit_code = 15
    default_state = "Nothing was installed; what served before goes on serving."
    default_remedy = "Copy the medium again from headquarters, and run the command again."


class MediumDamagedError(MediumError):
    """A byte of a medium is not as it was packed."""

    code = "PROVISION-021"


class MediumMismatchError(MediumError):
    """A medium for another kind of device."""

    code = "PROVISION-022"
    default_remedy = "Ask headquarters for the medium that is marked for this kind of device."


class TrustRootError(MediumError):
    """The trust root of a medium is not the one that the bank named, or that this device trusts."""

    code = "PROVISION-023"
    default_remedy = "Do not use this medium. Tell headquarters where it came from, and ask for a new one."


class BusyError(MediumError):
    """Another installation into the same directory is under way."""

    code = "PROVISION-024"
    default_state = "This one was not started; the other one goes on."
    default_remedy = "Wait until it has ended, then run the command again."


class SpaceError(MediumError):
    """The disk is too small for two slots and a download."""

    code = "PROVISION-025"
    default_remedy = "Free the room named above, or have a larger disk put in, and run the command again."


class RootNotWritableError(MediumError):
    """The device's directory cannot be written: read-only, or no permission."""

    code = "PROVISION-026"
    default_remedy = "Run the command as root, or name a directory of your own with --root."


class EnvironmentFailedError(MediumError):
    """A slot's Python environment could not be made."""

    code = "PROVISION-027"


class PackError(MediumError):
    """A medium or its wheelhouse cannot be made."""

    code = "PROVISION-028"
    default_state = "No medium was written."
    default_remedy = "Correct what is named above, and run the command again."


class InventoryError(MediumError):
    """An inventory report is malformed, or its signature does not fit."""

    code = "PROVISION-029"
    default_state = "The report is not to be relied on."
    default_remedy = "Collect the report from the device again; if it fails again, look at the device."
