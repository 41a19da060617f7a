"""The sections ``[offline]`` and ``[review]`` of a bank's policy: what a device decides alone, and how people do."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FullPolicy(_Schema):
    """Full authority.

    Attributes:
        hours: It lasts so long after the last contact with headquarters,
        passed: and until so many yuan have passed since then.
    """

    hours: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    passed: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ReducedPolicy(FullPolicy):
    """Reduced authority.

    Attributes:
        limit: Applications of more yuan than this do not pass.
    """

    limit: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class OfflinePolicy(_Schema):
    """What a device may decide by itself without its line. Older bundles have no such section, so it has defaults.

    Attributes:
        online_minutes: For so long after a contact the device counts as having its line.
        full: As on the line.
        reduced: Larger applications go to a person.
        review_only_hours: Once reduced authority is used up everything goes to a person; past so many hours after the
            last contact nothing is scored any more.
    """

    online_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60
    full: FullPolicy = FullPolicy(hours=168, passed=10_000_000)
    reduced: ReducedPolicy = ReducedPolicy(hours=720, passed=15_000_000, limit=50_000)
    review_only_hours: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2160

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.full.hours <= self.reduced.hours <= self.review_only_hours:
            raise ValueError("the hours of full, reduced and review_only_hours do not rise")
        if self.reduced.passed < self.full.passed:
            raise ValueError(f"reduced.passed is {self.reduced.passed:g}, below full.passed, {self.full.passed:g}")
        return self


class ReviewPolicy(_Schema):
    """How people decide; with defaults, since older bundles have no such section.

    Attributes:
        two_persons_from: From so many yuan on a verdict takes two persons who agree.
    """

    two_persons_from: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 200_000
