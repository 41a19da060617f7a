"""What keeps a device's journal from reaching headquarters, and what headquarters' collector refuses."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


class SyncError(EdgeKitError):
    """Headquarters cannot be reached, or does not answer as it should.

    Args:
        retry_after_s: How long headquarters asks to be left alone; 0 where it says nothing.
    """

    code = "SYNC-001"
    exit_code = 18
    default_state = "Everything that is not acknowledged stays in the journal; scoring goes on."
    default_remedy = "Nothing needs to be done: the device tries again by itself. If it lasts a day, check the line."

    def __init__(
        self, problem: str, *, state: str | None = None, remedy: str | None = None, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(problem, state=state, remedy=remedy)
        self.retry_after_s = retry_after_s


class SyncRefusedError(SyncError):
    """Headquarters refuses this device, or what it sends."""

    code = "SYNC-002"
    default_remedy = "Report it to headquarters with its code; nothing at the branch can mend it."


class AcknowledgementError(SyncError):
    """An answer that is not headquarters', not for this call, or acknowledges what was not sent."""

    code = "SYNC-003"
    default_state = "The answer was thrown away: nothing counts as sent, and this was no contact with headquarters."
    default_remedy = "If it comes again, report it to headquarters: somebody may be answering in its place."


class SyncCertificateError(SyncError):
    """A certificate between this device and headquarters has ended, is not valid yet, or is not trusted."""

    code = "SYNC-004"
    default_remedy = "Ask headquarters for a new certificate; nothing is lost meanwhile."


class SyncSettingsError(SyncError):
    """It is not said where headquarters is, or a key or certificate for it cannot be read."""

    code = "SYNC-005"
    default_remedy = "Correct [sync] in the bank's policy, or the files under keys/sync of the state directory."


class SyncUnregisteredError(SyncRefusedError):
    """Headquarters' register lacks this device, has retired it, or knows it by another certificate."""

    code = "SYNC-006"
    default_remedy = "Report it to headquarters: 'edgekit collector devices list' there shows this device."


class SyncQuotaError(SyncError):
    """Headquarters has no room for what this device sends, or lets it send no more of it."""

    code = "SYNC-007"
    default_remedy = "Report it to headquarters; the device goes on trying."


class CollectorError(EdgeKitError):
    """The collector's directory cannot be made or used, or lacks what was asked for."""

    code = "COLLECTOR-001"
    exit_code = 19
    default_state = "Nothing was changed at the collector."
    default_remedy = "Make the directory with 'edgekit collector init DIR', or name the right one."


class MessageError(CollectorError):
    """What a device sent is no message of this kit, or its signature does not fit."""

    code = "COLLECTOR-002"
    default_state = "Nothing of it was kept."
    default_remedy = "Compare the kit's version on the device with the collector's."


class RegisterError(CollectorError):
    """The register lacks a device, has retired it, or knows it by another certificate."""

    code = "COLLECTOR-003"
    default_state = "Nothing that it sent counts as taken; its journal keeps everything."
    default_remedy = "Look at 'edgekit collector devices list', and add or retire devices there."


class QuotaError(CollectorError):
    """A device sends more than one device may."""

    code = "COLLECTOR-004"
    default_state = "What is over the bound was not taken; the device keeps it."
    default_remedy = "Find out at the branch why it begins records and does not end them."


class CollectorFullError(CollectorError):
    """The collector's share of its disk is full."""

    code = "COLLECTOR-005"
    default_state = "Papers are not taken, entries are; devices keep everything that is not acknowledged."
    default_remedy = "Give the collector more room: --max-gb, or a larger disk."
