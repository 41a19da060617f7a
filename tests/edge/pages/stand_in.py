"""The pages over the real app, server, journal and review queue, with a scorer in place of the models."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from devices.clock import Clock
from devices.errors import EdgeKitError
from devices.listeners import open_listeners
from devices.state import ensure_state_dir
from edge.application import Submission
from edge.decide import Desk
from edge.journal.keys import open_keys
from edge.journal.store import Journal
from edge.pages.blueprint import create_blueprint
from edge.pipeline import Scored
from edge.policy import load_policy
from edge.receipt import Receipt
from edge.review import Reviews
from edge.service import submission_from
from runtime.access import Access
from runtime.app import SentApplication, Services, UploadedFile, create_app
from runtime.budget import UNLIMITED, Budget
from runtime.server import Server

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[2] / "examples"
APPLICATION = EXAMPLES / "application"
POLICY = load_policy(EXAMPLES / "policy.toml")


def receipt() -> dict[str, Any]:
    """The receipt of ``examples/application``, whose persons are invented: with a doubtful address and a phrase."""
    document: dict[str, Any] = json.loads((HERE / "receipt.json").read_text(encoding="utf-8"))
    purpose = json.loads((APPLICATION / "application.json").read_text(encoding="utf-8"))["loan"]["purpose"]
    clause = purpose.split("，")[2]
    phrase = {"start": purpose.index(clause), "end": purpose.index(clause) + len(clause)}
    document["reasons"][0]["evidence"] = [
        {"text": f"借新还旧 0.98：“{clause}”", "code": "debt_rollover", "phrase": phrase}
    ]
    return document


def _renamed(document: dict[str, Any], files: dict[str, str]) -> str:
    """``document`` as JSON, its papers called as in ``files``, by kind."""
    text = json.dumps(document)
    for each in document["documents"]:
        text = text.replace(f'"file": "{each["file"]}"', f'"file": {json.dumps(files.get(each["kind"], each["file"]))}')
    return text


@dataclass
class Device:
    """A served device: what its scorer does next, and what it was sent."""

    url: str = ""
    error: EdgeKitError | None = None
    wait_s: float = 0.0
    changes: dict[str, Any] = field(default_factory=dict)
    """Of the receipt."""
    sent: list[Submission] = field(default_factory=list)
    gone: int = 0
    """Clients that left before their answer."""

    def __post_init__(self) -> None:
        clock = Clock(None)
        journal = Journal.open(ensure_state_dir("journal"), open_keys(), now=clock.now)
        self.desk = Desk(self, POLICY, Receipt.model_validate(receipt()).bundle, journal, clock)
        self.reviews = Reviews(self.desk, POLICY.review)

    def score(self, submission: Submission, budget: Budget = UNLIMITED, *, moment: datetime | None = None) -> Scored:
        """A receipt about the kinds of papers that were handed in."""
        deadline = time.monotonic() + self.wait_s
        while time.monotonic() < deadline:
            time.sleep(0.02)
            try:
                budget.check()
            except EdgeKitError:
                self.gone += 1
                raise
        if self.error:
            raise self.error
        self.sent.append(submission)
        application = submission.application
        files: dict[str, str] = {document.kind: document.file for document in application.documents}
        answer = json.loads(_renamed(receipt(), files))
        answer["documents"] = [each for each in answer["documents"] if each["kind"] in files]
        del answer["decision_id"]
        answer |= {"application_id": application.application_id, "time": moment} | self.changes
        return Scored(Receipt.model_validate(answer), ())

    def decide(self, sent: SentApplication, budget: Budget = UNLIMITED) -> dict[str, Any]:
        return self.desk.decide(submission_from(sent), budget, key=sent.key).answered().model_dump(mode="json")

    def decide_example(self, amount: float | None = None, **changes: Any) -> str:
        """Decide ``examples/application`` with these changes of the receipt; returns the decision's id."""
        self.changes = changes
        application = json.loads((APPLICATION / "application.json").read_bytes())
        application["loan"]["amount"] = amount or application["loan"]["amount"]
        names = [document["file"] for document in application["documents"]]
        uploads = [UploadedFile(name, name, (APPLICATION / name).read_bytes()) for name in names]
        made = self.decide(SentApplication(json.dumps(application).encode(), uploads))
        self.changes = {}
        return str(made["decision_id"])

    def status(self) -> dict[str, Any]:
        seen, held = receipt(), self.desk.lease()
        memory = {"rss_bytes": 612_000_000, "rss_limit_bytes": 1_500_000_000, "gpu_bytes": None}
        return {
            "device_id": seen["device_id"],
            "profile": seen["profile"],
            "bundle": seen["bundle"] | {"signed_by": "0" * 16},
            "models": seen["models"],
            "passed_over": {},
            "journal": {"backlog": self.desk.journal.backlog()},
            "offline": {"since": held.since.isoformat() if held.since else None, "authority": held.authority},
            "started": "2026-11-23T08:00:00Z",
            "worker": {"pid": 1, "restarts": 0, "memory": memory},
        } | self.changes


@contextmanager
def served(access: Access = Access()) -> Iterator[Device]:  # noqa: B008  # it is frozen
    """A device on a port of its own."""
    device, nothing = Device(), None
    services = Services("1", {}, nothing, nothing, device.decide, device.status, decisions=device.reviews)  # type: ignore[arg-type]
    listener = open_listeners("127.0.0.1", 0)[0]
    server = Server(create_app(services, access, pages=create_blueprint()), [listener], threads=16)
    thread = threading.Thread(target=server.run, args=(lambda: None,))
    thread.start()
    device.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield device
    finally:
        server.stop()
        thread.join()
        listener.close()
        device.desk.journal.close()
