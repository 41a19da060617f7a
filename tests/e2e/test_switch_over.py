"""A provisioned device with the real bundle: served from its slot, changed over while clients score, and back again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from devices.provision.package import install_launcher
from devices.provision.slots import (
    Layout,
    activate_slot,
    begin_slot,
    complete_slot,
    create_root,
    read_switch,
    seal_slot,
)
from tests.devices.provision.small_release import calling, write_environment
from tests.e2e.conftest import DemoRun

APPLICATION = Path(__file__).parents[2] / "examples" / "application"
CLIENTS = 4


class Branch:
    """A device made by hand, as an installer makes one, and its launcher."""

    def __init__(self, root: Path, demo: DemoRun, edgekit: Path) -> None:
        self.root, self._demo, self._edgekit = root, demo, edgekit
        create_root(root)
        install_launcher(root, sys.executable)

    def install(self, sequence: int, change: Callable[[Path], object] = lambda _: None) -> str:
        """Build a release in the inactive slot; ``change`` is made to its bundle before the slot is sealed."""
        name = begin_slot(self.root, f"branch-loans-{sequence}", sequence)
        layout = Layout(self.root)
        release = {
            "name": "branch-loans",
            "sequence": sequence,
            "bundle": {"keys": [self._demo.public_key.read_text()]},
        }
        layout.release(name).write_text(json.dumps(release))
        shutil.copytree(self._demo.bundle, layout.bundle(name))
        change(layout.bundle(name))
        write_environment(layout.environment(name), cli=None)
        seal_slot(self.root, name)
        complete_slot(self.root, name)
        return name

    @contextmanager
    def serving(self) -> Iterator[str]:
        with (self.root.parent / "log").open("a") as log:
            process = subprocess.Popen(
                [self._edgekit, "serve", "--root", self.root, "--port", "0", "--json"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, (self.root.parent / "log").read_text()
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.stdout.close()
            assert process.wait(timeout=30) == 0

    def run(self, command: str, *more: str) -> tuple[int, dict[str, Any]]:
        """``edgekit provision COMMAND --json``: exit status and document."""
        result = subprocess.run(
            [self._edgekit, "provision", command, "--root", self.root, *more, "--json"],
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        return result.returncode, json.loads(result.stdout)


@pytest.fixture
def branch(tmp_path: Path, demo: DemoRun, edgekit: Path) -> Branch:
    made = Branch(tmp_path / "branch", demo, edgekit)
    activate_slot(made.root, made.install(1))  # type: ignore[arg-type]
    return made


def scoring(url: str) -> AbstractContextManager[Counter[int | str]]:
    """Clients that score applications without documents; yields how they were answered."""
    application = json.loads((APPLICATION / "application.json").read_bytes()) | {"documents": []}

    def ask(session: requests.Session) -> str:
        answer = session.post(f"{url}/v1/score", files={"application": json.dumps(application)}, timeout=60)
        return f"{answer.status_code} {answer.json().get('score')}"

    return calling(ask, CLIENTS, pause_s=0.1)  # the models that are being loaded want the processor too


def until(value: Callable[[], Any], seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := value():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came")


def test_a_device_is_updated_and_rolled_back_while_clients_score_and_none_fails(branch: Branch) -> None:
    with ExitStack() as stack:
        url = stack.enter_context(branch.serving())

        def slot() -> dict[str, Any]:
            served: dict[str, Any] = requests.get(f"{url}/v1/status", timeout=60).json()["slot"]
            return served

        assert slot() == {
            "slot": "a", "release": "branch-loans-1", "sequence": 1, "state": "good", "watched": False
        }  # fmt: skip
        answered = stack.enter_context(scoring(url))
        until(lambda: sum(answered.values()) >= CLIENTS)
        branch.install(2)
        status, document = branch.run("activate")
        assert (status, document["verdict"], document["release"]) == (0, "good", "branch-loans-2")
        until(lambda: slot()["release"] == "branch-loans-2" and not slot()["watched"])  # it scores as before
        branch.install(3, lambda bundle: (bundle / "text-risk" / "artifact.json").write_bytes(b"{}"))
        status, document = branch.run("activate")
        assert status == 14
        assert document["error"]["code"] == "PROVISION-005"
        assert "text-risk/artifact.json was changed" in document["error"]["problem"]
        assert slot()["release"] == "branch-loans-2"
        status, document = branch.run("rollback", "--why", "To see it.")
        assert status == 14  # release 1 gave way to release 3
        assert slot()["release"] == "branch-loans-2"
    assert len(answered) == 1, answered
    assert next(iter(answered)).startswith("200 ")
    events = [(event.event, event.release) for event in read_switch(branch.root).history]
    assert events[-4:] == [
        ("building", "branch-loans-3"), ("ready", "branch-loans-3"), ("activated", "branch-loans-3"),
        ("rolled back", "branch-loans-3"),
    ]  # fmt: skip
    kept = json.loads((branch.root / "state" / "scores.json").read_text())["releases"]
    assert len(kept["branch-loans-2"]) == 20


def test_the_banks_own_profile_sets_the_ceiling_that_a_trial_has_to_keep(branch: Branch) -> None:
    profile = (Layout(branch.root).bundle("a") / "profile.toml").read_text()
    limit = next(line for line in profile.splitlines() if line.startswith("memory_limit_mb"))
    (branch.root / "profile.toml").write_text(profile.replace(limit, "memory_limit_mb = 256"))
    status, document = branch.run("activate", "--slot", "a")
    assert status == 14
    assert "MB of memory; the profile" in document["error"]["problem"]
    assert "allows 256 MB" in document["error"]["problem"]


def test_serve_wants_a_bundle_or_a_root(edgekit: Path, tmp_path: Path) -> None:
    for arguments in ([], ["--bundle", tmp_path, "--root", tmp_path], ["--bundle", tmp_path, "--slot", "a"]):
        result = subprocess.run(
            [edgekit, "serve", *arguments, "--json"], capture_output=True, text=True, check=False, env=os.environ
        )
        assert result.returncode == 2
        assert "either --bundle DIR or --root DIR" in json.loads(result.stdout)["error"]["problem"]
