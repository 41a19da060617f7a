"""The report of a playbook: what became of every box, for a person and for the auditor.

Written anew at every verdict, so one that is interrupted leaves what it knows.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
    name: fleet_report
    type: notification
    short_description: what became of every box
    description: Writes DIRECTORY/PLAYBOOK-TIME.json and prints the boxes that failed.
    options:
      directory:
        description: Where reports are kept.
        default: reports
        type: path
        env: [{name: FLEET_REPORTS}]
        ini: [{section: fleet, key: reports}]
"""

FACT = "fleet_verdict"
FINE = {"rollout": ("updated", "current", "unreachable"), "rollback": ("rolled back", "unreachable")}
COLLECTED = ("collected", "unreachable")


class CallbackModule(CallbackBase):
    """Collects the fact ``fleet_verdict`` of each box."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "fleet_report"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._started = _now()
        self._playbook = ""
        self._wave = 0
        self._boxes: dict[str, dict[str, Any]] = {}
        self._all: dict[str, None] = {}

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Keep its name."""
        self._playbook = Path(playbook._file_name).stem

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Called for every wave of a play."""
        inventory = play.get_variable_manager()._inventory
        names = [host.name for host in inventory.get_hosts(play.hosts, ignore_restrictions=True)]
        if names != ["localhost"]:
            self._wave += 1
            self._all |= dict.fromkeys(names)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Take the verdict, if this task gave one."""
        said = (result.result.get("ansible_facts") or {}).get(FACT)
        if said:
            wave = self._boxes.get(result.host.name, {}).get("wave", self._wave)
            verdict = {"started": "lost"}.get(said["verdict"], said["verdict"])
            why = _sentence(said["why"])
            self._boxes[result.host.name] = {**said, "verdict": verdict, "why": why, "wave": wave, "time": _now()}
            self._write(complete=False)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """The end: print what a person needs to know."""
        if not self._boxes:
            return
        path = self._write(complete=True)
        counts = self._counts()
        self._display.banner("FLEET")
        self._display.display(", ".join(f"{number} {verdict}" for verdict, number in counts.items()))
        for name, box in self._boxes.items():
            if self._failed(box):
                self._display.display(f"{name}: {box['verdict']}: {box['why']}", color="red")
        self._display.display(f"Report: {path}")

    def _failed(self, box: dict[str, Any]) -> bool:
        return box["verdict"] not in FINE.get(self._playbook, COLLECTED)

    def _counts(self) -> dict[str, int]:
        verdicts = [box["verdict"] for box in self._boxes.values()]
        counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
        untouched = len(self._all.keys() - self._boxes.keys())
        return counts | ({"not begun": untouched} if untouched else {})

    def _write(self, *, complete: bool) -> Path:
        directory = Path(self.get_option("directory"))
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self._playbook}-{self._started.replace(':', '')}.json"
        document = {
            "playbook": self._playbook,
            "started": self._started,
            "ended": _now() if complete else None,
            "counts": self._counts(),
            "failed": sorted(name for name, box in self._boxes.items() if self._failed(box)),
            "not_begun": [name for name in self._all if name not in self._boxes],
            "boxes": self._boxes,
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
        return path


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _sentence(why: str) -> str:
    """An error of the kit as its sentences; anything else as it is."""
    try:
        error = json.loads(why)["error"]
        return f"{error['problem']} {error['state']} {error['remedy']} [{error['code']}]"
    except (ValueError, KeyError, TypeError):
        return why.strip()
