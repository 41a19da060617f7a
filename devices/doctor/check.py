"""A check's outcome, and the codes that clerks read out over the telephone (docs/doctor.md)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "attention", "stop"]

# a code once given keeps its meaning
NAMES = {
    "DOCTOR-001": "machine",
    "DOCTOR-002": "python",
    "DOCTOR-003": "wheels",
    "DOCTOR-004": "profile",
    "DOCTOR-005": "int8",
    "DOCTOR-006": "backends",
    "DOCTOR-007": "memory",
    "DOCTOR-008": "disk",
    "DOCTOR-009": "file system",
    "DOCTOR-010": "permission",
    "DOCTOR-011": "clock",
    "DOCTOR-012": "time zone",
    "DOCTOR-013": "port",
    "DOCTOR-014": "processes",
    "DOCTOR-015": "gpu",
    "DOCTOR-016": "tpm",
    "DOCTOR-017": "slots",
    "DOCTOR-018": "bundle",
    "DOCTOR-019": "golden set",
}


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        code: One of ``NAMES``.
        state: ``attention``: the device serves, though not as it should. ``stop``: it cannot serve, or must not.
        finding: One sentence with the values seen.
        remedy: What to do, in one sentence or two; empty where nothing is to be done.
    """

    code: str
    state: State
    finding: str
    remedy: str = ""

    @property
    def name(self) -> str:
        """What was looked at, in a word or two."""
        return NAMES[self.code]

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return {"name": self.name, **asdict(self)}


def worst(*found: Check | None) -> Check:
    """Of several findings of one check the gravest; of equals the first."""
    gravity = {"ok": 0, "attention": 1, "stop": 2}
    return max((each for each in found if each is not None), key=lambda check: gravity[check.state])
