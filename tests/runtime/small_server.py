"""A server with a supervisor and no models, run as a process by the tests.

``python small_server.py DIR LIMITS`` serves what DIR/version says. Its requests: ``/version``, ``/status``,
``/sleep/SECONDS``, ``/ask`` (for a replacement) and ``/size`` (bytes of the body). A version ``broken`` cannot be
loaded, ``dying`` ends its process while it loads, ``slow`` takes a second to load.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from devices.errors import BundleError, EdgeKitError
from devices.listeners import open_listeners
from runtime.logs import log_as_json
from runtime.supervisor import Supervisor, SupervisorLimits
from runtime.worker import Work, WorkerSide


def load(directory: Path, side: WorkerSide) -> Work:
    version = (directory / "version").read_text(encoding="utf-8").strip()
    if version == "broken":
        raise BundleError("The version is broken.", state="Nothing was loaded.", remedy="Mend it.")
    if version == "dying":
        os._exit(3)
    if version == "slow":
        time.sleep(1.0)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        _, what, *rest = environ["PATH_INFO"].split("/")
        if what == "sleep":
            time.sleep(float(rest[0]))
        if what == "ask":
            side.ask_replacement("Asked over HTTP.")
        answer: dict[str, Any] = {"version": version, "pid": os.getpid()}
        if what == "status":
            answer |= side.facts
        if what == "size":
            answer["size"] = len(environ["wsgi.input"].read())
        body = json.dumps(answer).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return Work(app, threads=8, stuck_s=2.0)


def main() -> int:
    directory, limits = Path(sys.argv[1]), SupervisorLimits(**json.loads(sys.argv[2]))
    log_as_json()
    listeners = open_listeners("127.0.0.1", int(sys.argv[3]))

    def announce() -> None:
        sys.stdout.write(f"{listeners[0].getsockname()[1]}\n")
        sys.stdout.flush()

    try:
        Supervisor(listeners, lambda side: load(directory, side), on_ready=announce, limits=limits).run()
    except EdgeKitError as error:
        sys.stdout.write(json.dumps(error.as_dict()) + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
