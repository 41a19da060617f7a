"""Whether a release that was just activated does what it has to: waits for the launcher's verdict, or asks for one.

The launcher starts a release in trial, its server checks itself against the golden set, memory ceiling and readiness,
and the record says what came of it. On a device on which no launcher runs yet, one is started for that, on a free port
of loopback, and stopped again.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devices.child import die_with_parent
from devices.errors import HealthError
from devices.provision.lock import launcher_facts
from devices.provision.slots import Layout, read_switch
from devices.provision.switch import SlotName

PATIENCE_S = 900.0  # a GPU compiles its engines at the first start
_LOOK_EVERY_S = 0.2
_STOP_S = 30.0
_LOG_NAME = "trial.log"


def await_verdict(root: Path, name: SlotName, *, python: Path, patience_s: float = PATIENCE_S) -> None:
    """Return once the release in ``name``, which is active, is good.

    Args:
        root: Of the device.
        name: The slot in trial.
        python: Runs the launcher where none runs.
        patience_s: For the whole trial.

    Raises:
        HealthError: It was given up; the message says why and what serves now.
    """
    if launcher_facts(root) is not None:
        _watch(root, name, None, patience_s)
        return
    with _launcher(root, python) as process:
        _watch(root, name, process, patience_s)


def _watch(root: Path, name: SlotName, launcher: subprocess.Popen[bytes] | None, patience_s: float) -> None:
    end = time.monotonic() + patience_s
    while True:
        switch = read_switch(root)
        slot = switch.slots[name]
        if switch.active == name and slot.state == "good":
            return
        if switch.active != name:
            now = switch.serving.release if switch.active else "none"
            raise HealthError(
                f"Release {slot.release} was given up: {slot.why or 'no reason was kept'}",
                state=f"The device went back: release {now} serves.",
            )
        if slot.why and switch.fallback is None:  # there is nothing to go back to, so nothing will end the trial
            raise HealthError(
                f"Release {slot.release} cannot serve: {slot.why}",
                state="There is no earlier release on this device to go back to, so it does not serve.",
            )
        if launcher is not None and launcher.poll() is not None:
            raise HealthError(f"The launcher ended before release {slot.release} was ready: {_last_words(root)}")
        if time.monotonic() > end:
            raise HealthError(
                f"Release {slot.release} is still in trial after {patience_s:.0f} s.",
                state="It stays in trial; the launcher goes on.",
                remedy="'edgekit provision status' shows what comes of it.",
            )
        time.sleep(_LOOK_EVERY_S)


def _last_words(root: Path) -> str:
    """The sentence that a launcher ended with; where it had none, the last one of its log."""
    lines = (Layout(root).state / _LOG_NAME).read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line for line in reversed(lines) if line.strip()), "no word")
    try:
        return str(json.loads(last)["message"])
    except (ValueError, KeyError, TypeError):
        return last


@contextmanager
def _launcher(root: Path, python: Path) -> Iterator[subprocess.Popen[bytes]]:
    log = Layout(root).state / _LOG_NAME
    log.unlink(missing_ok=True)  # the directory is the service's: a link there would lead root elsewhere
    command = [str(python), "-I", str(Layout(root).launcher), str(root), "--port", "0", "--json"]
    with (
        log.open("xb") as errors,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, preexec_fn=die_with_parent) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
