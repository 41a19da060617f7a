"""What a device may decide by itself after so long without headquarters. Pure: times and sums in, an authority out.

The bank signs the lease as ``[offline]`` of its policy. The rules:
 1. Time runs from the last contact; before any contact, from the journal's first entry.
 2. Sums are of the applications that passed since then without a person, the one at hand included.
 3. The stricter of the two holds: full, then reduced (only applications up to a limit pass), then review_only
    (everything goes to a person), then stopped (nothing is scored). Only time leads to stopped.
 4. A clock that was ahead at the contact wins nothing: a contact is never later than an entry that follows it.

``now`` comes from ``devices.clock.Clock``, which cannot be set back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from edge.policy import Language, OfflinePolicy
from edge.receipt import Authority


@dataclass(frozen=True)
class Standing:
    """Where a device stands with headquarters, as its journal tells.

    Attributes:
        contact: When it last was in contact; the journal's beginning while it never was.
        ever: Whether it ever was.
        passed: Yuan that passed since then without a person.
    """

    contact: datetime
    ever: bool = False
    passed: float = 0.0

    def after(self, kind: str, time: datetime, body: Mapping[str, Any]) -> Standing:
        """The standing after one more entry of the journal, its kind, time and body."""
        if kind == "contact":
            return Standing(time, ever=True)
        standing = self if time >= self.contact else replace(self, contact=time)
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
        by_sum: Whether the sum, not the time, led to this authority.
    """

    authority: Authority
    since: datetime | None
    limit: float | None
    cut_off: timedelta
    passed: float
    by_sum: bool

    def lets_pass(self, amount: float) -> bool:
        """Whether an application of so many yuan may pass without a person."""
        return self.authority == "full" or (
            self.authority == "reduced" and self.limit is not None and amount <= self.limit
        )

    def why(self, language: Language) -> str:
        """Why something does not pass, as a part of a sentence."""
        days = self.cut_off.total_seconds() / 86_400
        if language == "zh":
            cause = f"自上次联系总行以来已通过 {self.passed:,.0f} 元" if self.by_sum else f"已 {days:.1f} 天未联系总行"
            return cause if self.limit is None else f"{cause}，且金额超过 {self.limit:,.0f} 元"
        cause = (
            f"{self.passed:,.0f} yuan passed since the last contact with headquarters"
            if self.by_sum
            else f"no contact with headquarters for {days:.1f} days"
        )
        return cause if self.limit is None else f"{cause}, and the amount is over {self.limit:,.0f} yuan"


def lease(standing: Standing, now: datetime, policy: OfflinePolicy, amount: float = 0.0) -> Lease:
    """What a device of this standing may decide about an application of ``amount`` yuan."""
    cut_off = max(now - standing.contact, timedelta(0))
    hours, total = cut_off.total_seconds() / 3600, standing.passed + amount
    recent = standing.ever and hours * 60 <= policy.online_minutes
    by_time = _authority(hours <= policy.full.hours, hours <= policy.reduced.hours, hours <= policy.review_only_hours)
    by_sum = _authority(total <= policy.full.passed, total <= policy.reduced.passed)
    authority = max(by_time, by_sum, key=_ORDER.index)
    return Lease(
        authority=authority,
        since=None if recent else standing.contact,
        limit=policy.reduced.limit if authority == "reduced" else None,
        cut_off=cut_off,
        passed=standing.passed,
        by_sum=by_time != authority,
    )


_ORDER: tuple[Authority, ...] = ("full", "reduced", "review_only", "stopped")


def _authority(full: bool, reduced: bool, review_only: bool = True) -> Authority:
    if full:
        return "full"
    if reduced:
        return "reduced"
    return "review_only" if review_only else "stopped"
