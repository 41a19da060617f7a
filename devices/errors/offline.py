"""What a device may not decide, what a person may not decide, and decisions that cannot be scored again."""

from __future__ import annotations

from devices.errors.root import EdgeKitError
from devices.errors.serving import AccessError, ServeError


class StoppedError(ServeError):
    """The device was cut off for so long that the bank's policy lets it decide nothing."""

    code = "OFFLINE-001"
    default_state = "Nothing was scored, and nothing is until headquarters is reached; people decide as before."
    default_remedy = "Connect the line, and 'edgekit sync --once' reaches headquarters; check the device's clock too."


class RoleError(AccessError):
    """A request carries a token, but not that of a reviewer."""

    code = "ACCESS-007"
    default_state = "The request was refused before it was looked at."
    default_remedy = "Use a reviewer's own token; 'edgekit token add NAME --role reviewer' on the device makes one."


class ReviewError(EdgeKitError):
    """A verdict that this person may not give on this case, or not any more."""

    code = "REVIEW-001"
    exit_code = 17
    default_state = "The verdict was not taken; those before it stand."
    default_remedy = "Look at the case again; a customer's request for a human decision opens it anew."


class ReplayError(EdgeKitError):
    """A decision cannot be scored again on this machine."""

    code = "REPLAY-001"
    exit_code = 17
    default_state = "Nothing was scored and nothing was changed."
