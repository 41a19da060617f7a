"""The kit's own commands, run as a person runs them, with an eye on their memory."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import ROOT
from devices.errors import EdgeKitError

EDGEKIT = Path(sys.executable).with_name("edgekit")
PROFILE = ROOT / "devices" / "profiles" / "cpu-avx512-vnni.toml"
_SAMPLE_EVERY_S = 0.5
_ACCURACY_CODE = "COMPRESS-004"


@dataclass(frozen=True)
class Outcome:
    """What a command left.

    Attributes:
        document: What it printed with ``--json``.
        refusal: The gate's words, where nothing passed it; then there is no artifact.
        peak_bytes: The most memory that it and its children held at once.
        seconds: How long it took.
    """

    document: dict[str, Any]
    refusal: str
    peak_bytes: int
    seconds: float


def edgekit(*arguments: str | Path) -> Outcome:
    """Run one command; its progress goes to the terminal.

    Raises:
        EdgeKitError: It failed, other than by the gate's refusal.
    """
    command = [str(EDGEKIT), *map(str, arguments), "--json"]
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        memory = _Watch(process.pid)
        memory.start()
        try:
            output, _ = process.communicate()
        finally:  # also when this program is told to end
            process.terminate()
            memory.stop()
    document: dict[str, Any] = json.loads(output) if output.strip() else {}
    error = document.get("error", {})
    if process.returncode != 0 and error.get("code") != _ACCURACY_CODE:
        raise EdgeKitError(
            f"edgekit {arguments[0]} {arguments[1]} ended with status {process.returncode}: "
            f"{error.get('problem', 'no message')}",
            state=error.get("state", "The benchmark stopped."),
            remedy=error.get("remedy", "Run the command by itself."),
        )
    return Outcome(document, error.get("problem", ""), memory.peak_bytes, time.monotonic() - started)


def own_profile(directory: Path, name: str, *, max_drop: float) -> Path:
    """A copy of the VNNI profile, under another name, that lets accuracy fall by ``max_drop`` and sets no latency.

    For runs that are about memory, size and time, with weights that mean nothing.
    """
    lines = PROFILE.read_text(encoding="utf-8").splitlines()
    changed = {"name": f'name = "{name}"', "max_drop": f"max_drop = {max_drop}"}
    kept = [changed.get(line.partition(" =")[0], line) for line in lines if not line.startswith("text_latency_ms")]
    path = directory / f"{name}.toml"
    path.write_text("\n".join(kept) + "\n", encoding="utf-8")
    return path


def memory_bytes(processes: Sequence[psutil.Process]) -> int:
    """What the processes hold together: memory that they share counts once, as Linux's PSS has it."""
    total = 0
    for process in processes:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:  # it has ended meanwhile
            continue
    return total


class _Watch(threading.Thread):
    """Looks at a process and all its children every half second and keeps the largest sum."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._root = psutil.Process(pid)
        self._ended = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._ended.wait(_SAMPLE_EVERY_S):
            try:
                family = [self._root, *self._root.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self.peak_bytes = max(self.peak_bytes, memory_bytes(family))

    def stop(self) -> None:
        """End it."""
        self._ended.set()
        self.join()
