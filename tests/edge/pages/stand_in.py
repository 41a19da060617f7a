"""The pages over the real app and server, with a scorer in place of the models: it answers with one receipt."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devices.errors import EdgeKitError
from devices.listeners import open_listeners
from edge.pages.blueprint import create_blueprint
from runtime.access import Access
from runtime.app import Services, UploadedFile, create_app
from runtime.budget import Budget
from runtime.server import Server

HERE = Path(__file__).parent
SINCE, CODE = "2026-11-20T08:00:00Z", "1042-7F3KQ9TD"
APPLICATION = HERE.parents[2] / "examples" / "application"


def receipt() -> dict[str, Any]:
    """The receipt of ``examples/application``, whose persons are invented; an address on it was hard to read."""
    document: dict[str, Any] = json.loads((HERE / "receipt.json").read_text(encoding="utf-8"))
    return document


@dataclass
class Device:
    """What the served device does next, and what it was sent."""

    url: str = ""
    error: EdgeKitError | None = None
    wait_s: float = 0.0
    passes: bool = False
    sent: list[dict[str, Any]] = field(default_factory=list)
    files: list[dict[str, bytes]] = field(default_factory=list)
    authority: str = "full"
    backlog: int = 0

    def score(self, application: bytes, uploads: Sequence[UploadedFile], budget: Budget) -> dict[str, Any]:
        deadline = time.monotonic() + self.wait_s
        while time.monotonic() < deadline:
            time.sleep(0.02)
            budget.check()
        if self.error:
            raise self.error
        self.sent.append(json.loads(application))
        self.files.append({upload.filename: upload.data for upload in uploads})
        kinds = {document["kind"]: document["file"] for document in self.sent[-1]["documents"]}
        answer = receipt()
        answer["documents"] = [
            each | {"file": kinds[each["kind"]]} for each in answer["documents"] if each["kind"] in kinds
        ]
        answer["application_id"] = self.sent[-1]["application_id"]
        answer["offline"] = {"since": SINCE, "authority": self.authority, "journal": CODE}
        if self.passes:
            answer |= {"decision": "pass", "score": 4, "risk_level": "low", "reasons": []}
        return answer

    def status(self) -> dict[str, Any]:
        seen = receipt()
        memory = {"rss_bytes": 612_000_000, "rss_limit_bytes": 1_500_000_000, "gpu_bytes": None}
        return {
            "device_id": seen["device_id"],
            "profile": seen["profile"],
            "bundle": seen["bundle"] | {"signed_by": "0" * 16},
            "models": seen["models"],
            "passed_over": {},
            "journal": {"backlog": self.backlog},
            "offline": {"since": SINCE, "authority": self.authority},
            "started": "2026-11-23T08:00:00Z",
            "worker": {"pid": 1, "restarts": 0, "memory": memory},
        }


@contextmanager
def served(access: Access = Access()) -> Iterator[Device]:  # noqa: B008  # it is frozen
    """A device on a port of its own."""
    device, nothing = Device(), None
    services = Services("1", {}, nothing, nothing, device.score, device.status)  # type: ignore[arg-type]
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
