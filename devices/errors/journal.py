"""The journal: what stops a device from deciding, and what cannot be shown again."""

from __future__ import annotations

from devices.errors.root import EdgeKitError


class JournalError(EdgeKitError):
    """The journal cannot be read or written."""

    code = "JOURNAL-001"
    exit_code = 15
    default_state = "Nothing was decided: a decision that is not in the journal is not given."
    default_remedy = "Check the disk that the message names; 'edgekit journal stats' shows the journal's state."


class JournalDamagedError(JournalError):
    """The journal was changed, cut, or damaged; the message names the first bad entry where there is one."""

    code = "JOURNAL-002"
    default_remedy = (
        "Run 'edgekit journal verify' and report what it says; 'edgekit journal salvage' makes a new journal of what "
        "verifies and keeps this one for the auditor."
    )


class JournalFullError(JournalError):
    """The disk, or the journal's share of it, is full."""

    code = "JOURNAL-003"
    default_state = "Nothing was written, so nothing was decided either; what is in the journal is safe."
    default_remedy = "Free room on the disk that the message names; 'df' shows how full it is."


class DeviceKeyError(JournalError):
    """The device key is lost, unreadable, or not the one that wrote this journal."""

    code = "JOURNAL-004"
    default_remedy = "Put the file back from where it was kept, or report it: headquarters must enrol this device anew."


class DecisionNotFoundError(JournalError):
    """No decision or entry of that name is in this journal."""

    code = "JOURNAL-005"
    default_state = "Nothing was changed."
    default_remedy = "Check the number on the receipt; it may have been decided on another device."


class RecordErasedError(JournalError):
    """The personal data of an entry were erased, or retired under the policy; what was decided still stands."""

    code = "JOURNAL-006"
    default_state = "The entry itself is still in the journal, without them."
    default_remedy = "Ask headquarters, which may hold its own copy if the law lets it."
