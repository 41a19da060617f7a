"""Updates: what a device refuses, and what the machine that signs cannot do."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


class UpdateError(EdgeKitError):
    """The source of updates cannot be read, or holds no release for this device."""

    code = "UPDATE-001"
    exit_code = 13
    default_state = "No update was taken; this device goes on serving what it has."
    default_remedy = "Check the line, or copy the update onto the medium again, and try once more."


class UpdateRollbackError(UpdateError):
    """Rollback attack: signed information that is older than what this device has seen already."""

    code = "UPDATE-002"
    default_remedy = "Get the newest copy of the update; if this is the newest, report it with its code."


class UpdateFreezeError(UpdateError):
    """Freeze attack: the signed information is past its date, and the grace period is over too."""

    code = "UPDATE-003"
    default_remedy = "Get a copy of the update that headquarters signed recently."


class UpdateMixError(UpdateError):
    """Mix-and-match attack: parts that were each signed, but do not belong together."""

    code = "UPDATE-004"
    default_remedy = "Copy the whole update again, into an empty directory; report it if that does not help."


class UpdateSignerError(UpdateError):
    """Wrong keys: not one signature is by a key that this device trusts."""

    code = "UPDATE-005"
    default_remedy = "Do not use this update; report it to headquarters with its code and say where it came from."


class UpdateThresholdError(UpdateError):
    """Too few signatures: some are by trusted keys, but fewer than must be."""

    code = "UPDATE-006"
    default_remedy = "Do not use this update; headquarters must sign it with all keys that it takes."


class UpdateEndlessError(UpdateError):
    """Endless data: the source sends more bytes than were signed."""

    code = "UPDATE-007"


class UpdateSlowError(UpdateError):
    """Slow retrieval: the source sends nothing, or so little that the update would never end."""

    code = "UPDATE-008"
    default_remedy = "Try again when the line is better, or bring the update on a USB stick; what has arrived is kept."


class UpdateContentError(UpdateError):
    """A file is damaged: its bytes are not the signed ones; the message names it."""

    code = "UPDATE-009"
    default_remedy = "Copy the update again from its source; if this file is named again, take another medium."


class UpdateTrustError(UpdateError):
    """This device's own trust root is missing, damaged, or another than the one that is offered."""

    code = "UPDATE-010"
    default_remedy = "Report it to headquarters: this device must be provisioned again with the bank's medium."


class RepositoryError(EdgeKitError):
    """The update repository cannot be made or changed as asked."""

    code = "REPO-001"
    exit_code = 14
    default_state = "The repository was not changed."
    default_remedy = "Correct what the message names and run the command again."


class SigningError(RepositoryError):
    """A signing key is missing, cannot be used, or the HSM refuses."""

    code = "REPO-002"
    default_remedy = "Give the directory of the keys with --keys, or make the HSM reachable, and run the command again."
