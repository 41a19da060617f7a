"""A desk over a real journal, with a scorer in place of the models: it answers with whatever score it is told."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from devices.clock import Clock
from devices.state import ensure_state_dir
from edge import receipt as receipts
from edge.application import Submission, from_parts
from edge.decide import Desk
from edge.journal.entry import Entry
from edge.journal.keys import open_keys
from edge.journal.store import Journal
from edge.offline.policy import FullPolicy, OfflinePolicy, ReducedPolicy, ReviewPolicy
from edge.pipeline import Scored
from edge.policy import Policy, load_policy
from edge.receipt import Receipt
from runtime.budget import UNLIMITED, Budget

BEGIN = datetime(2026, 11, 24, 8, tzinfo=UTC)
BUNDLE = receipts.Bundle(name="demo", version="1", sha256="a" * 64)
MODEL = receipts.Model(name="ocr-det", sha256="b" * 64, backend="openvino", precision="int8")
POLICY = load_policy(Path(__file__).parents[2] / "examples" / "policy.toml").model_copy(
    update={
        "offline": OfflinePolicy(
            full=FullPolicy(hours=24, passed=100_000),
            reduced=ReducedPolicy(hours=72, passed=150_000, limit=10_000),
            review_only_hours=240,
        ),
        "review": ReviewPolicy(two_persons_from=200_000),
    }
)


class Wall:
    """A wall clock and a boot clock that only the test moves."""

    def __init__(self) -> None:
        self.time, self.boot_s = BEGIN, 1000.0

    def wait(self, **duration: float) -> None:
        step = timedelta(**duration)
        self.time, self.boot_s = self.time + step, self.boot_s + step.total_seconds()

    def clock(self, path: Path | None = None) -> Clock:
        return Clock(path, built=BEGIN, wall=lambda: self.time, boot=lambda: ("boot", self.boot_s))


class Scores:
    """Scores as told: ``score`` decides level and decision, as the example policy would."""

    def __init__(self, score: int = 5) -> None:
        self.next, self.calls = score, 0

    def score(self, submission: Submission, budget: Budget = UNLIMITED, *, moment: datetime | None = None) -> Scored:
        self.calls += 1
        assert moment is not None
        score = self.next
        level: receipts.RiskLevel = "low" if score < 20 else "medium" if score < 50 else "high"
        reasons = [receipts.Reason(code="text_risk", text="用途", contribution=score, evidence=[])] if score else []
        receipt = Receipt(
            application_id=submission.application.application_id,
            time=moment,
            device_id="kiosk-1",
            profile="test",
            bundle=BUNDLE,
            score=score,
            risk_level=level,
            decision="pass" if level == "low" else "review",
            reasons=reasons,
            documents=[],
            text_risk=receipts.TextRisk(labels={"normal": 0.9}),
            behaviour=receipts.Behaviour(probability=0.1, top_transactions=[]),
            models=[MODEL],
            offline=receipts.Offline(since=None, authority="full"),
            timings_ms={"total": 1.0},
        )
        return Scored(receipt, ())


def picture(size: tuple[int, int] = (40, 30)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white").save(out, "PNG")
    return out.getvalue()


def application(number: str = "T-1", amount: float = 1000, **changed: Any) -> dict[str, Any]:
    """An invented application with one paper."""
    return {
        "application_id": number,
        "applicant": {"name": "示例甲", "id_number": "999999199003070012", "declared_monthly_income": 12000},
        "loan": {"amount": amount, "term_months": 12, "purpose": "装修"},
        "documents": [{"kind": "id_card", "file": "id.png"}],
        "transactions": [],
    } | changed


def submission(number: str = "T-1", amount: float = 1000, files: Mapping[str, bytes] | None = None) -> Submission:
    raw = json.dumps(application(number, amount), ensure_ascii=False).encode()
    return from_parts(raw, files or {"id.png": picture()})


def hesitating(desk: Desk, seconds: float = 0.005) -> Desk:
    """``desk`` with a journal that waits before it appends: without a lock, others would come in between."""
    append = desk.journal.append

    def slowly(*arguments: Any, **named: Any) -> Entry:
        time.sleep(seconds)
        return append(*arguments, **named)

    desk.journal.append = slowly  # type: ignore[method-assign]
    return desk


def open_desk(wall: Wall, scores: Scores | None = None, policy: Policy = POLICY, clock: Clock | None = None) -> Desk:
    """A desk over the journal in this test's state directory."""
    clock = clock or wall.clock()
    journal = Journal.open(ensure_state_dir("journal"), open_keys(), now=clock.now)
    return Desk(scores or Scores(), policy, BUNDLE, journal, clock)
