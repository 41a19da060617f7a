"""What a device may decide by itself after so long without headquarters. Pure: times and sums in, an authority out.

The bank signs the lease as ``[offline]`` of its policy. The rules:
 1. Time runs from the last contact; before any contact, from the journal's first entry.
 2. Sums are of the applications that passed since then without a person, the one at hand included.
 3. The stricter of the two holds: full, then reduced (only applications up to a limit pass), then review_only
    (everything goes to a person), then stopped (nothing is scored). Only time leads to stopped.
 4. What headquarters withdrew stays withdrawn until it says otherwise.
 5. After a salvage of the journal everything goes to a person until the next contact: what passed before is not known.
 6. A clock that was ahead at the contact wins nothing: a contact is never later than an entry that follows it.

``now`` comes from ``devices.clock.Clock``, which cannot be set back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from edge.offline.policy import OfflinePolicy
from edge.policy import Language
from edge.receipt import Authority

Cause = Literal["time", "sum", "revoked", "salvaged"]

_CAUSES_ZH: Mapping[Cause, str] = {
    "time": "已 {days:.1f} 天未联系总行",
    "sum": "自上次联系总行以来已通过 {passed:,.0f} 元",
    "revoked": "总行已收回本机的审批权限",
    "salvaged": "日志曾受损并已抢救，尚未联系总行",
}
_CAUSES_EN: Mapping[Cause, str] = {
    "time": "no contact with headquarters for {days:.1f} days",
    "sum": "{passed:,.0f} yuan passed since the last contact with headquarters",
    "revoked": "headquarters has withdrawn this device's authority",
    "salvaged": "the journal was damaged and salvaged, and there was no contact with headquarters since",
}


@dataclass(frozen=True)
class Standing:
    """Where a device stands with headquarters, as its journal tells.

    Attributes:
        contact: When it last was in contact; the journal's beginning while it never was.
        ever: Whether it ever was.
        passed: Yuan that passed since then without a person.
        most: The authority beyond which headquarters lets it do nothing.
        salvaged: Whether the journal was damaged and salvaged since.
    """

    contact: datetime
    ever: bool = False
    passed: float = 0.0
    most: Authority = "full"
    salvaged: bool = False

    def after(self, kind: str, time: datetime, body: Mapping[str, Any]) -> Standing:
        """The standing after one more entry of the journal, its kind, time and body."""
        if kind == "contact":
            return Standing(time, ever=True, most=self.most)
        standing = self if time >= self.contact else replace(self, contact=time)
        if kind == "salvage":
            return replace(standing, salvaged=True)
        if kind == "revocation":
            return replace(standing, most=body["authority"])
        if kind == "decision" and body["decision"] == "pass":
            return replace(standing, passed=standing.passed + body["amount"])
        return standing


@dataclass(frozen=True)
class Lease:
    """What a device may decide.

    Attributes:
        authority: For the application at hand.
        since: Time of the last contact; None while that is recent.
        limit: Yuan up to which an application passes; None without such a limit.
        cut_off: Time since the last contact, whether recent or not.
        passed: Yuan that passed since then, the application at hand not included.
        cause: What led to this authority: the time, the sum, a revocation by headquarters, or a salvage of the journal.
    """

    authority: Authority
    since: datetime | None
    limit: float | None
    cut_off: timedelta
    passed: float
    cause: Cause

    def lets_pass(self, amount: float) -> bool:
        """Whether an application of so many yuan may pass without a person."""
        return self.authority == "full" or (
            self.authority == "reduced" and self.limit is not None and amount <= self.limit
        )

    def why(self, language: Language) -> str:
        """Why something does not pass, as a part of a sentence."""
        zh = language == "zh"
        cause = (_CAUSES_ZH if zh else _CAUSES_EN)[self.cause].format(
            days=self.cut_off.total_seconds() / 86_400, passed=self.passed
        )
        if self.limit is None:
            return cause
        limit = "{}，且金额超过 {:,.0f} 元" if zh else "{}, and the amount is over {:,.0f} yuan"
        return limit.format(cause, self.limit)


def lease(standing: Standing, now: datetime, policy: OfflinePolicy, amount: float = 0.0) -> Lease:
    """What a device of this standing may decide about an application of ``amount`` yuan."""
    cut_off = max(now - standing.contact, timedelta(0))
    hours, total = cut_off.total_seconds() / 3600, standing.passed + amount
    recent = standing.ever and hours * 60 <= policy.online_minutes
    by_time = _authority(hours <= policy.full.hours, hours <= policy.reduced.hours, hours <= policy.review_only_hours)
    by_sum = _authority(total <= policy.full.passed, total <= policy.reduced.passed)
    by_salvage: Authority = "review_only" if standing.salvaged else "full"
    found: tuple[tuple[Authority, Cause], ...] = (
        (by_time, "time"),
        (by_sum, "sum"),
        (standing.most, "revoked"),
        (by_salvage, "salvaged"),
    )
    authority, cause = max(found, key=lambda each: _ORDER.index(each[0]))
    return Lease(
        authority=authority,
        since=None if recent else standing.contact.replace(microsecond=0),
        limit=policy.reduced.limit if authority == "reduced" else None,
        cut_off=cut_off,
        passed=standing.passed,
        cause=cause,
    )


_ORDER: tuple[Authority, ...] = ("full", "reduced", "review_only", "stopped")


def _authority(full: bool, reduced: bool, review_only: bool = True) -> Authority:
    if full:
        return "full"
    if reduced:
        return "reduced"
    return "review_only" if review_only else "stopped"
