"""The section ``[journal]`` of a bank's policy: how much of the disk the journal may take, and for how long."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from edge.journal.retention import Bounds

_MB = 1024 * 1024
_Days = Annotated[int, Field(ge=1, le=36_500)]


class JournalPolicy(BaseModel):
    """What the journal keeps. Every key has a default: older bundles have no such section.

    Attributes:
        max_mb: Of the disk. Near it pictures go first, oldest first; when nothing is left to go, scoring stops.
        documents_days: How long the papers are kept.
        records_days: How long a receipt and an application can be read; then their key is destroyed.
        bundles_mb: Beside the journal, for bundles that served before and on which decisions rest that can be scored
            again. Beyond it those go that served longest ago; a bundle that no decision needs goes anyway.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_mb: Annotated[int, Field(ge=64)] = 8192
    documents_days: _Days = 1830
    records_days: _Days = 1830
    bundles_mb: Annotated[int, Field(ge=0)] = 2048

    @property
    def bundles_bytes(self) -> int:
        """``bundles_mb`` in bytes."""
        return self.bundles_mb * _MB

    def bounds(self) -> Bounds:
        """For ``Journal.open``."""
        return Bounds(max_bytes=self.max_mb * _MB, documents_days=self.documents_days, records_days=self.records_days)
