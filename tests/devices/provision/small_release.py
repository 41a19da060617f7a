"""Releases that do as they are told and a device with them: the real server and supervisor, no models.

A release's behaviour stands in ``bundle/behaviour``:
``good``; ``slow`` (a second to load); ``broken`` (says why it cannot serve); ``dying`` (ends while it starts);
``silent`` (gives no sign of life once it is ready). Every one answers ``/version``, ``/sleep/SECONDS``,
``/crash`` (ends the whole server), ``/lost`` (tells of a lost worker), ``/drift`` and ``/settle`` (tell the launcher).
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import requests

from devices.provision.slots import (
    Layout,
    activate_slot,
    begin_slot,
    change,
    complete_slot,
    create_root,
    read_switch,
    seal_slot,
)
from devices.provision.switch import SlotName, mark_good

REPOSITORY = Path(__file__).parents[3]
_SERVER = '''
"""Stands in for edge.cli in a release without models."""
import json, os, signal, sys, time
from devices.listeners import inherited_listeners
from devices.provision.notify import Notifier
from runtime.supervisor import Supervisor
from runtime.worker import Work

slot = sys.argv[sys.argv.index("--slot") + 1]
folder = os.path.join(sys.argv[sys.argv.index("--root") + 1], "slots", slot)
behaviour = open(os.path.join(folder, "bundle", "behaviour")).read().strip()
release = json.load(open(os.path.join(folder, "release.json")))
notifier = Notifier.from_environment()
server = os.getpid()
if behaviour == "broken":
    error = {"code": "BACKEND-004", "problem": "The golden outputs are missed.", "state": "-", "remedy": "Ask <b>."}
    notifier.send(X_EDGEKIT_FAILED="The golden outputs are missed.", X_EDGEKIT_ERROR=json.dumps(error))
    sys.exit(14)
if behaviour == "dying":
    sys.exit(3)
if behaviour == "slow":
    time.sleep(1)


def app(environ, start_response):
    _, what, *rest = environ["PATH_INFO"].split("/")
    if what == "sleep":
        time.sleep(float(rest[0]))
    if what == "crash":
        os.kill(server, signal.SIGKILL)
        time.sleep(60)  # this process dies with it
    words = {"lost": "X_EDGEKIT_CRASHED", "drift": "X_EDGEKIT_DRIFTED", "settle": "X_EDGEKIT_SETTLED"}
    if what in words:
        notifier.send(**{words[what]: f"It is {what}."})
    body = json.dumps({"release": release["sequence"], "slot": slot, "state": os.environ["EDGEKIT_STATE_DIR"]}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


beat = (lambda: None) if behaviour == "silent" else notifier.alive
ready = lambda: notifier.send(READY="1")
Supervisor(inherited_listeners(), lambda side: Work(app, threads=8), on_ready=ready, on_turn=beat).run()
'''


def write_environment(folder: Path, cli: str | None = _SERVER) -> None:
    """An environment of this interpreter with the checkout's packages; ``cli`` takes the place of ``edge.cli``."""
    packages = folder / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (folder / "bin").mkdir()
    base = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]  # of this virtual environment
    (folder / "bin" / "python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    if cli is not None:
        (packages / "edge").mkdir()
        (packages / "edge" / "__init__.py").touch()
        (packages / "edge" / "cli.py").write_text(cli)
    site = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "checkout.pth").write_text(f"{REPOSITORY}\n{site}\n")


def install(root: Path, sequence: int, behaviour: str = "good") -> SlotName:
    """Build release ``small-SEQUENCE`` in the inactive slot, as an installer does; returns which slot that is."""
    name = begin_slot(root, f"small-{sequence}", sequence)
    layout = Layout(root)
    layout.release(name).write_text(json.dumps({"name": "small", "sequence": sequence}))
    layout.bundle(name).mkdir()
    (layout.bundle(name) / "behaviour").write_text(behaviour)
    (layout.bundle(name) / "policy.toml").write_text("[update]\ncrashes = 2\n")
    write_environment(layout.environment(name))
    seal_slot(root, name)
    complete_slot(root, name)
    return name


def device(root: Path, behaviour: str = "good") -> Path:
    """A device on which release 1 serves and is good."""
    create_root(root)
    activate_slot(root, install(root, 1, behaviour))
    change(root, mark_good)
    return root


_LAUNCH = """
import json, logging, sys
from pathlib import Path
from devices.errors import EdgeKitError
from devices.listeners import open_listeners
from devices.provision.launcher import Launcher, LauncherLimits

logging.basicConfig(level=logging.INFO, format="%(message)s")
listeners = open_listeners("127.0.0.1", int(sys.argv[2]))
url = f"http://127.0.0.1:{listeners[0].getsockname()[1]}"
logging.info("Listening at %s", url)
limits = LauncherLimits(**json.loads(sys.argv[3]))
try:
    Launcher(Path(sys.argv[1]), listeners, on_ready=lambda: print(url, flush=True), limits=limits).run()
except EdgeKitError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


class Launched:
    """The launcher as a process."""

    def __init__(self, root: Path, log: Path, *, port: int = 0, command: Sequence[str] = (), **limits: float) -> None:
        self.root, self.log = root, log
        usual = [sys.executable, "-c", _LAUNCH, str(root), str(port), json.dumps(limits)]
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                command or usual, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    @cached_property
    def url(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        assert line, self.log.read_text()
        return str(json.loads(line)["url"]) if line.startswith("{") else line

    def get(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = requests.get(self.url + path, timeout=30).json()
        return answer

    def release(self) -> int:
        return int(self.get("/version")["release"])

    def refusing(self) -> str:
        """The address, once callers there are told that nobody serves."""
        found = self.until(lambda: re.search(r"Listening at (\S+)", self.log.read_text()))
        url = str(found[1])
        self.until(lambda: requests.get(url, timeout=30).status_code == 503)
        return url

    def until(self, holds: Callable[[], Any], seconds: float = 60) -> Any:
        """Wait for it; the launcher's log is shown when it never comes."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := holds():
                return value
            time.sleep(0.05)
        raise AssertionError(f"{read_switch(self.root)}\n{self.log.read_text()}")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=20) == 0
        self.close()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def clients(url: str, path: str = "/version") -> AbstractContextManager[Counter[int | str]]:
    """Clients that get ``path`` all the while; yields how they were answered."""
    return calling(lambda session: session.get(url + path, timeout=60).status_code)


@contextmanager
def calling(
    ask: Callable[[requests.Session], int | str], number: int = 4, *, pause_s: float = 0.0
) -> Iterator[Counter[int | str]]:
    """``number`` clients that ask all the while on connections that they keep; yields how they were answered."""
    answered: Counter[int | str] = Counter()
    stop = threading.Event()

    def call() -> None:
        with requests.Session() as session:
            while not stop.is_set():
                try:
                    answered[ask(session)] += 1
                    stop.wait(pause_s)
                except requests.RequestException as error:
                    answered[str(error)] += 1
                    stop.wait(0.1)

    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        stop.set()
        for thread in threads:
            thread.join()
