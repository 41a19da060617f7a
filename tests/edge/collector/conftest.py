"""The same branch and headquarters as for the device's side."""

from __future__ import annotations

from tests.edge.offline.conftest import branch, headquarters, time

__all__ = ["branch", "headquarters", "time"]
