from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devices.doctor.processes import Running, check_leftovers, check_port, running

ROOT = Path("/srv/kit")
LAUNCHER = Running(100, 1, ("python3", "/srv/kit/launcher.pyz", "run", "--root", "/srv/kit"))
SERVER = Running(101, 100, ("/srv/kit/slots/a/environment/bin/python", "-m", "edge.cli", "serve", "--root", "/srv/kit"))
WORKER = Running(102, 101, SERVER.command, ports=(8808,))
DEMO = Running(200, 1, ("/home/b/.venv/bin/python", "/home/b/.venv/bin/edgekit", "serve", "--bundle", "x"))
OTHERS = (Running(1, 0, ("/sbin/init",)), Running(300, 1, ("vim", "edgekit", "notes"), ports=(9000,)))


@pytest.mark.parametrize(
    ("process", "serves"),
    [(LAUNCHER, True), (SERVER, True), (WORKER, True), (DEMO, True), *((other, False) for other in OTHERS),
     (Running(7, 1, ("edgekit", "device", "doctor")), False), (Running(8, 1, ()), False)],
)  # fmt: skip
def test_the_kit_s_servers_are_known_by_their_command_lines(process: Running, serves: bool) -> None:
    assert process.is_server is serves


def test_the_device_s_own_launcher_and_its_children_are_not_left_over() -> None:
    check = check_leftovers([*OTHERS, LAUNCHER, SERVER, WORKER], ROOT)
    assert check.state == "ok"
    assert "process 100" in check.finding
    assert check_leftovers(OTHERS, ROOT).finding == "Servers of the kit that run: none."
    assert check_leftovers([DEMO], None).state == "ok"
    assert check_leftovers([LAUNCHER, SERVER, WORKER], None).state == "ok"


@pytest.mark.parametrize(
    ("processes", "root", "pid"),
    [
        pytest.param([LAUNCHER, SERVER, DEMO], ROOT, 200, id="one of another place"),
        pytest.param([LAUNCHER], Path("/srv/ki"), 100, id="a root whose name begins the same"),
        pytest.param([DEMO, LAUNCHER], None, 100, id="two at once"),
        pytest.param([Running(103, 1, SERVER.command, gone=True)], ROOT, 103, id="its slot was removed"),
    ],
)
def test_a_server_that_nobody_needs_is_named_with_how_to_stop_it(
    processes: list[Running], root: Path | None, pid: int
) -> None:
    check = check_leftovers(processes, root)
    assert check.state == "attention"
    assert f"process {pid}" in check.finding
    assert check.remedy.endswith(f"kill {pid}")


def test_a_port_is_free_the_kit_s_or_somebody_else_s() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        mine = check_port(running(), "127.0.0.1", port)
        assert mine.state == "stop"
        assert f"process {os.getpid()}" in mine.finding
        unseen = check_port([], "127.0.0.1", port)
        assert unseen.state == "stop"
        assert "another user" in unseen.finding
        assert check_port([*OTHERS, SERVER], "127.0.0.1", port).state == "ok"  # asked by another user than the kit's
        assert check_port([SERVER, Running(5, 1, ("nginx",), (port,))], "127.0.0.1", port).state == "stop"
        assert check_port([Running(102, 101, SERVER.command, (port,))], "127.0.0.1", port).state == "ok"
    assert check_port(running(), "127.0.0.1", port).state == "ok"


def test_a_process_whose_directory_was_removed_is_known(tmp_path: Path) -> None:
    folder = tmp_path / "slot"
    folder.mkdir()
    code = "import sys; print('in', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], cwd=folder, stdin=-1, stdout=-1) as child:
        assert child.stdout is not None
        child.stdout.readline()
        before = next(each for each in running() if each.pid == child.pid)
        folder.rmdir()
        after = next(each for each in running() if each.pid == child.pid)
        child.kill()
    assert (before.gone, after.gone) == (False, True)
    assert after.parent == os.getpid()
