"""The launcher with real servers without models: changing over, going back, starting again, being killed."""

from __future__ import annotations

import ast
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
import requests

from devices.errors import ProvisionError
from devices.provision import switch as moves
from devices.provision.lock import launcher_facts
from devices.provision.package import install_launcher, launcher_bytes
from devices.provision.slots import Layout, activate_slot, change, read_switch
from tests.devices.provision.small_release import Launched, clients, device, install


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Launched]]:
    started: list[Launched] = []

    def start(root: Path, **given: object) -> Launched:
        started.append(Launched(root, tmp_path / "log", **given))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return device(tmp_path / "root")


def _says(log: Path, what: str, times: int) -> bool:
    return log.read_text().count(what) == times


def test_a_new_release_takes_over_while_clients_call_and_none_of_them_notices(
    root: Path, launch: Callable[..., Launched]
) -> None:
    launched = launch(root)
    old = launched.get("/version")
    assert old == {"release": 1, "slot": "a", "state": str(root / "state")}
    server = (launcher_facts(root) or {})["server"]
    with clients(launched.url) as answered:
        activate_slot(root, install(root, 2))
        launched.until(lambda: launched.release() == 2)
        launched.until(lambda: not psutil.pid_exists(server))
        before = answered[200]
        launched.until(lambda: answered[200] > before + 20)
    assert set(answered) == {200}, answered
    switch = read_switch(root)
    assert (switch.active, switch.serving.state) == ("b", "good")
    assert switch.watch == moves.Watch("b", "small-1")
    assert (launcher_facts(root) or {})["release"] == "small-2"
    launched.stop()
    assert launcher_facts(root) is None


def test_a_release_that_says_why_it_cannot_serve_is_given_up_at_once_beside_the_one_that_serves(
    root: Path, launch: Callable[..., Launched]
) -> None:
    launched = launch(root)
    assert launched.release() == 1
    facts = launcher_facts(root)
    with clients(launched.url) as answered:
        activate_slot(root, install(root, 2, "broken"))
        launched.until(lambda: read_switch(root).active == "a")
        assert launched.release() == 1
    assert set(answered) == {200}, answered
    assert read_switch(root).slots["b"].why == "The golden outputs are missed."
    assert read_switch(root).slots["b"].state == "bad"
    assert launcher_facts(root) == facts  # the old server was never touched


def test_a_release_that_dies_is_tried_as_often_as_its_policy_says(root: Path, launch: Callable[..., Launched]) -> None:
    launched = launch(root)
    assert launched.release() == 1
    activate_slot(root, install(root, 2, "dying"), crashes=2)
    launched.until(lambda: read_switch(root).active == "a")
    assert "Given up after 2 failures" in read_switch(root).slots["b"].why
    assert "ended with status 3" in read_switch(root).slots["b"].why
    assert launched.log.read_text().count("small-2 is started from slot b") == 2
    assert launched.release() == 1


def test_a_watched_release_that_crashes_too_often_gives_way(root: Path, launch: Callable[..., Launched]) -> None:
    launched = launch(root)
    activate_slot(root, install(root, 2), crashes=2)
    launched.until(lambda: (launcher_facts(root) or {}).get("release") == "small-2")  # it answers a moment before
    launched.get("/lost")  # its supervisor has replaced a worker
    launched.until(lambda: (read_switch(root).watch or moves.Watch("a", "")).crashes == 1)
    with pytest.raises(requests.ConnectionError):
        launched.get("/crash")
    launched.until(lambda: launched.release() == 1)
    assert "SIGKILL" in read_switch(root).slots["b"].why


def test_scores_that_drift_bring_the_old_release_back_and_no_caller_notices(
    root: Path, launch: Callable[..., Launched]
) -> None:
    launched = launch(root)
    activate_slot(root, install(root, 2))
    launched.until(lambda: launched.release() == 2)
    with clients(launched.url) as answered:
        launched.get("/drift")
        launched.until(lambda: launched.release() == 1)
    assert set(answered) == {200}, answered
    assert read_switch(root).slots["b"].why == "It is drift."
    launched.get("/drift")  # a release that nobody watches goes on
    time.sleep(0.5)
    assert read_switch(root).active == "a"


def test_a_release_that_settled_is_watched_no_longer(root: Path, launch: Callable[..., Launched]) -> None:
    launched = launch(root)
    activate_slot(root, install(root, 2))
    launched.until(lambda: launched.release() == 2)
    launched.get("/settle")
    launched.until(lambda: read_switch(root).watch is None)
    launched.get("/drift")
    with pytest.raises(requests.ConnectionError):
        launched.get("/crash")
    assert launched.release() == 2  # started again; the caller waited
    assert read_switch(root).active == "b"


def test_a_release_that_a_person_takes_back_while_it_loads_never_takes_a_call(
    root: Path, launch: Callable[..., Launched]
) -> None:
    launched = launch(root)
    assert launched.release() == 1
    activate_slot(root, install(root, 2, "slow"))
    launched.until(lambda: "small-2 is started" in launched.log.read_text())
    change(root, lambda switch: moves.roll_back(switch, "By a person."))
    launched.until(lambda: len(psutil.Process(launched.process.pid).children()) == 1)
    assert launched.release() == 1
    assert "small-2 serves" not in launched.log.read_text()


def test_a_server_without_a_sign_of_life_is_replaced(tmp_path: Path, launch: Callable[..., Launched]) -> None:
    root = device(tmp_path / "silent", "silent")
    launched = launch(root, silent_s=1.0)
    first = launched.until(lambda: (launcher_facts(root) or {}).get("server"))
    launched.until(lambda: (launcher_facts(root) or {}).get("server") not in (None, first))
    assert "gives no sign of life" in launched.log.read_text()


def test_a_launcher_killed_in_a_trial_goes_on_counting_where_it_was(
    root: Path, launch: Callable[..., Launched]
) -> None:
    activate_slot(root, install(root, 2, "slow"), crashes=2)
    for number in range(2):
        launched = launch(root)
        launched.until(partial(_says, launched.log, "small-2 is started from slot b", number + 1))
        launched.process.kill()
        launched.process.wait()
    assert read_switch(root).serving.attempts == 2
    last = launch(root)
    assert last.release() == 1
    assert "Given up after 2 starts" in read_switch(root).slots["b"].why


def test_nothing_outlives_a_launcher_that_is_killed_and_the_port_is_free_at_once(
    root: Path, launch: Callable[..., Launched]
) -> None:
    launched = launch(root)
    assert launched.release() == 1
    server = (launcher_facts(root) or {})["server"]
    launched.process.kill()
    launched.until(lambda: not psutil.pid_exists(server) or psutil.Process(server).status() == psutil.STATUS_ZOMBIE)
    again = launch(root, port=int(launched.url.rpartition(":")[2]))
    assert again.release() == 1


def test_a_damaged_active_slot_gives_way_to_the_other_one_before_anything_is_started(
    root: Path, launch: Callable[..., Launched]
) -> None:
    activate_slot(root, install(root, 2))
    change(root, moves.mark_good)
    file = Layout(root).bundle("b") / "behaviour"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    assert launch(root).release() == 1
    assert read_switch(root).slots["b"].why == "Slot b: bundle/behaviour was changed: its SHA-256 is another one."


def test_when_the_fallback_is_damaged_the_new_release_stays_and_is_tried_again(
    root: Path, launch: Callable[..., Launched]
) -> None:
    launched = launch(root)
    activate_slot(root, install(root, 2))
    launched.until(lambda: launched.release() == 2)
    (Layout(root).bundle("a") / "behaviour").unlink()
    launched.get("/drift")
    launched.until(lambda: read_switch(root).slots["a"].state == "bad")
    assert "behaviour is missing" in read_switch(root).slots["a"].why
    launched.until(lambda: read_switch(root).serving.why == "It is drift.")
    assert read_switch(root).watch is None
    assert launched.release() == 2


def test_a_lost_record_is_made_anew_from_the_slots_that_are_whole(root: Path, launch: Callable[..., Launched]) -> None:
    install(root, 2)
    Layout(root).switch.write_text('{"schema_version": 1, "active')
    launched = launch(root)
    assert launched.release() == 2
    assert [event.event for event in read_switch(root).history] == ["salvaged", "good"]


def test_a_disk_that_takes_no_record_does_not_keep_the_device_from_serving(
    root: Path, launch: Callable[..., Launched]
) -> None:
    activate_slot(root, install(root, 2))
    (root / "record" / "switch.lock").unlink()
    (root / "record" / "switch.lock").mkdir()  # root may write anywhere, so a full disk is played by this
    launched = launch(root)
    assert launched.release() == 2
    assert "cannot be opened for writing" in launched.log.read_text()


def test_a_disk_without_a_byte_left_does_not_keep_the_launcher_from_starting(
    root: Path, tmp_path: Path, launch: Callable[..., Launched]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(full)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        shutil.copytree(root, full / "root", symlinks=True)
        with suppress(OSError), (full / "filler").open("wb", buffering=0) as filler:
            while filler.write(bytes(4096)):
                pass
        launched = launch(full / "root")
        assert launched.release() == 1
        assert launcher_facts(full / "root") == {}  # it is served, and by whom could not be written
        launched.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(full)], check=True)


def test_with_nothing_whole_callers_are_told_which_file_it_is_and_once_it_is_mended_it_serves(
    root: Path, launch: Callable[..., Launched]
) -> None:
    changed = Layout(root).bundle("a") / "behaviour"
    changed.write_text("gooD")
    launched = launch(root, pause_s=4.0)
    url = launched.refusing()
    answer = requests.get(url, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (503, "PROVISION-003")
    assert "bundle/behaviour was changed" in answer.json()["problem"]
    changed.write_text("good")
    launched.until(lambda: requests.get(url, timeout=30).status_code == 200)


def test_while_nobody_serves_callers_are_told_what_the_server_said_and_a_person_gets_a_page(
    tmp_path: Path, launch: Callable[..., Launched]
) -> None:
    root = device(tmp_path / "root", "broken")
    launched = launch(root, pause_s=4.0)
    url = launched.refusing()
    program = requests.post(url + "/v1/score", data=b"{}", timeout=30)
    assert program.status_code == 503
    said = program.json()
    assert (said["code"], said["problem"], said["remedy"]) == (
        "BACKEND-004",
        "The golden outputs are missed.",
        "Ask <b>.",
    )
    assert "tries to serve again by itself" in said["state"]
    person = requests.get(url, headers={"Accept": "text/html,application/xhtml+xml"}, timeout=30)
    assert (person.status_code, person.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
    assert "设备暂时不能受理" in person.text
    assert "The golden outputs are missed." in person.text
    assert "Ask &lt;b&gt;." in person.text
    activate_slot(root, install(root, 2))
    launched.until(lambda: requests.get(url, timeout=30).status_code == 200)


def test_a_second_launcher_is_refused_and_names_the_first(root: Path, launch: Callable[..., Launched]) -> None:
    first = launch(root)
    assert first.release() == 1
    second = launch(root)
    assert second.process.wait(timeout=60) == 14
    assert f"is served already, by process {first.process.pid}" in first.log.read_text()


def test_the_one_file_launcher_is_the_same_for_the_same_modules_and_written_for_older_pythons() -> None:
    assert launcher_bytes() == launcher_bytes()
    with zipfile.ZipFile(io.BytesIO(launcher_bytes())) as archive:
        names = archive.namelist()
        for name in names:
            ast.parse(archive.read(name), feature_version=(3, 9))
    assert {"__main__.py", "devices/listeners.py", "devices/provision/launcher.py"} <= set(names)


def test_a_launcher_that_does_not_run_here_is_not_installed(root: Path) -> None:
    assert install_launcher(root, sys.executable)
    before = Layout(root).launcher.read_bytes()
    Layout(root).launcher.write_bytes(before + b" ")  # an older one
    with pytest.raises(ProvisionError, match="does not run with /bin/false on this box"):
        install_launcher(root, "/bin/false")
    assert Layout(root).launcher.read_bytes() == before + b" "
    assert [path.name for path in root.glob("launcher.pyz*")] == ["launcher.pyz"]


def test_the_one_file_launcher_runs_with_the_boxs_python_alone(
    root: Path, launch: Callable[..., Launched], tmp_path: Path
) -> None:
    python = next((path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)), None)
    if python is None:
        pytest.skip("this box has no Python of its own")
    assert install_launcher(root, python)
    assert not install_launcher(root, python)
    modules = subprocess.run(
        [python, "-I", "-X", "importtime", Layout(root).launcher, root, "--check"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "devices.provision.launcher" in modules.stderr
    assert not [name for name in ("pydantic", "click", "site-packages") if name in modules.stderr]
    launched = launch(root, command=[python, "-I", str(Layout(root).launcher), str(root), "--port", "0", "--json"])
    assert launched.release() == 1
    lines = [json.loads(line) for line in launched.log.read_text().splitlines()]
    assert lines[-1]["message"].startswith("Release small-1 serves from slot a")
    launched.stop()


_CUT = """
import sys
from pathlib import Path
from devices.listeners import open_listeners
from devices.provision.launcher import Launcher
from tests.devices.provision.power_cut import Steps

Steps(int(sys.argv[2]), "torn").count()
Launcher(Path(sys.argv[1]), open_listeners("127.0.0.1", 0)).run()
"""


@pytest.mark.parametrize("step", [*range(8), 10])
def test_power_that_fails_while_the_launcher_goes_back_leaves_a_device_that_serves(
    root: Path, launch: Callable[..., Launched], step: int
) -> None:
    # counting the attempt takes four steps, going back four more; where there is no /dev/shm, two come before them
    activate_slot(root, install(root, 2, "broken"))
    dying = launch(root, command=[sys.executable, "-c", _CUT, str(root), str(step)])
    if step < 8:
        assert dying.process.wait(timeout=60) == -signal.SIGKILL
    else:
        dying.until(lambda: read_switch(root).active == "a")
        dying.close()
    assert launch(root).release() == 1
    assert read_switch(root).slots["b"].why == "The golden outputs are missed."
