"""The rows of ``bench offline`` about answering for decisions: scored again, and no personal data outside of records.

Applications go over HTTP into a journal of their own, with the demonstration's models. Then the server's log, its
metrics, its answers to errors, and every file of the state directory are searched for what the applications held, value
by value. Last the bundle that was kept is loaded again and scores all of it again.
"""

from __future__ import annotations

import io
import json
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient

from benchmarks.harness import Figure, Goal, Progress, Report, Row
from benchmarks.offline_served import own_state
from benchmarks.runtime_models import demo_bundle
from devices.state import state_dir
from edge.bundle.archive import find_bundle
from edge.bundle.manifest import MANIFEST_NAME, sha256_hex
from edge.bundle.verify import reopen_bundle
from edge.decide import Desk
from edge.journaled import journaled, machine_of, open_desk
from edge.replay import replay, stored
from edge.service import Device, open_device
from examples.transactions.generate import generate
from runtime.app import create_app
from runtime.logs import log_as_json
from runtime.tokens import TokenFile

REPLAYS = 200
_EVERY_PAPER = 4  # one of so many brings all three papers, the others the card alone
_SAMPLE = Path(__file__).parent.parent / "examples" / "application"
_PURPOSES = Path(__file__).parent.parent / "examples" / "statements" / "written_test.tsv"
_SHORTEST = 8  # bytes of a value that is searched for; shorter ones stand in ciphertext by chance


def replay_rows(report: Report, scratch: Path, progress: Progress) -> None:
    """Decide, search, decide again."""
    with own_state(scratch / "replay"), _log() as log:
        source = demo_bundle()
        sha256 = sha256_hex((source / MANIFEST_NAME).read_bytes())
        device = open_device(reopen_bundle(source, sha256))
        desk = open_desk(device, source)
        said, values = _decided(device, desk, lambda share: progress("decide", share))
        found = _found(values, {"the log": log.getvalue().encode(), "metrics and errors": said} | _files())
        report.add(
            Row(
                "Personal data outside of encrypted records",
                Figure.exact(len(found)),
                "values",
                Goal(0, at_least=False),
                f"Of {len(values)} values (names, numbers, purposes, counterparties, reasons) in log, metrics, errors, "
                f"and every file of the state directory{': ' + ', '.join(sorted(found)) if found else ''}.",
            )
        )
        again = open_device(reopen_bundle(find_bundle(sha256), sha256))
        decisions = [str(entry.body["decision_id"]) for entry in desk.journal.entries(kinds=["decision"])]
        identical = 0
        for number, decision in enumerate(decisions):
            scored = replay(
                stored(desk.journal, decision),
                lambda submission, moment: again.scorer.score(submission, moment=moment).receipt,
                machine_of(again),
            )
            identical += scored.identical
            progress("score again", (number + 1) / len(decisions))
        report.add(
            Row(
                f"Decisions that 'replay' scores identically, of {len(decisions)}",
                Figure.exact(identical),
                "decisions",
                Goal(REPLAYS),
                "Every value of the receipt but ids, timings and authority; models loaded anew from the kept bundle.",
            )
        )
        desk.journal.close()


def _decided(device: Device, desk: Desk, progress: Callable[[float], None]) -> tuple[bytes, set[str]]:
    """Decide invented applications and review some; what the server said beside receipts, and the values handed in."""
    client = create_app(journaled(device, desk).services).test_client()
    token = {"Authorization": f"Bearer {TokenFile().add('reviewer-1', 'reviewer')}"}
    rng = random.Random(7)  # noqa: S311  # no secret
    values: set[str] = set()
    said = b""
    purposes = [line.split("\t")[1] for line in _PURPOSES.read_text(encoding="utf-8").splitlines()]
    accounts = generate(REPLAYS, 7)
    for number, (transactions, _) in enumerate(accounts):
        document = _application(number, purposes[number % len(purposes)], transactions, rng)
        values |= _values(document)
        answer = _sent(client, document)
        if answer.status_code != 200:
            raise RuntimeError(f"an application was answered {answer.status_code}: {answer.text}")
        if answer.json["decision"] == "review" and number % 10 == 0:
            reason = f"与申请人{document['applicant']['name']}核对过第 {number} 份材料"
            values.add(reason)
            place = f"/v1/decisions/{answer.json['decision_id']}/review"
            said += client.post(place, json={"verdict": "approve", "reason": reason}, headers=token).data
        broken = {**document, "loan": {**document["loan"], "term_months": 0}}
        said += _sent(client, broken).data
        progress((number + 1) / REPLAYS)
    return said + client.get("/metrics").data, values


def _application(number: int, purpose: str, transactions: Any, rng: random.Random) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((_SAMPLE / "application.json").read_bytes())
    papers = document["documents"] if number % _EVERY_PAPER == 0 else document["documents"][:1]
    return {
        **document,
        "application_id": f"申请-{number:04d}-{rng.randrange(10**8):08d}",
        "loan": {"amount": rng.randrange(1, 300) * 1000, "term_months": 12, "purpose": purpose},
        "documents": papers,
        "transactions": transactions,
    }


def _sent(client: FlaskClient, document: dict[str, Any]) -> Any:
    raw = json.dumps(document, ensure_ascii=False).encode()
    parts = {"application": (io.BytesIO(raw), "application.json")}
    for paper in document["documents"]:
        parts[paper["file"]] = (io.BytesIO((_SAMPLE / paper["file"]).read_bytes()), paper["file"])
    return client.post("/v1/score", data=parts)


def _values(document: dict[str, Any]) -> set[str]:
    """What must be found nowhere."""
    applicant = document["applicant"]
    said = {applicant["name"], applicant["id_number"], document["application_id"], document["loan"]["purpose"]}
    said |= {each["counterparty"] for each in document["transactions"]}
    return {value for value in said if len(value.encode()) >= _SHORTEST}


def _files() -> dict[str, bytes]:
    """Every file of the state directory, what is made again and the bundle aside."""
    folder = state_dir()
    aside = (folder / "cache", folder / "bundles")
    files = [path for path in folder.rglob("*") if path.is_file() and not any(path.is_relative_to(a) for a in aside)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _found(values: set[str], places: dict[str, bytes]) -> set[str]:
    """Which places hold a value, as it is or as JSON escapes it."""
    spellings = [form for value in values for form in (value.encode(), json.dumps(value)[1:-1].encode())]
    return {place for place, data in places.items() if any(spelling in data for spelling in spellings)}


@contextmanager
def _log() -> Iterator[io.StringIO]:
    """What the server logs, everything down to the debug level."""
    root, stream = logging.getLogger(), io.StringIO()
    before = root.handlers[:], root.level
    log_as_json(logging.DEBUG)
    (handler,) = root.handlers
    if not isinstance(handler, logging.StreamHandler):
        raise TypeError("the server logs elsewhere")
    handler.setStream(stream)
    try:
        yield stream
    finally:
        root.handlers, root.level = before
