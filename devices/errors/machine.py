"""The machine and its profile."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


class DeviceError(EdgeKitError):
    """The machine could not be examined."""

    code = "DEVICE-001"
    exit_code = 7


class ProfileError(DeviceError):
    """There is no such profile, or it is malformed."""

    code = "DEVICE-002"
