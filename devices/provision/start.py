"""The launcher's command line: ``python3 ROOT/launcher.pyz ROOT [--host H] [--port N] [--json] [-- MORE]``.

MORE goes to ``edgekit serve`` as it is: ``--tls-cert FILE --tls-key FILE``, ``--backend NAME``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from devices.errors import EdgeKitError, SwitchError
from devices.listeners import open_listeners
from devices.provision.launcher import Launcher
from devices.provision.slots import read_switch


def launch(root: Path, host: str, port: int, more: Sequence[str], *, as_json: bool) -> None:
    """Serve the active slot of ``root`` until SIGTERM or Ctrl-C; says on stdout or stderr when ready and where.

    Raises:
        ServeError: The port is taken or not allowed.
        ProvisionError: ``root`` is no provisioned device, is served already, or its record is lost and
            no slot is whole.
    """
    root = root.absolute()
    try:
        installed = read_switch(root).active is not None
    except SwitchError:  # the launcher makes a new record
        installed = True
    if not installed:
        raise SwitchError(
            f"Nothing is installed in {root} yet.",
            state="Nothing is served.",
            remedy="Run 'edgekit provision install MEDIUM', which starts what it installs.",
        )
    listeners = open_listeners(host, port)
    bound, bound_port = listeners[0].getsockname()[:2]
    scheme = "https" if "--tls-cert" in more else "http"
    url = f"{scheme}://{f'[{bound}]' if ':' in bound else bound}:{bound_port}"

    def announce() -> None:
        stream, line = (
            (sys.stdout, json.dumps({"url": url, "ready": True})) if as_json else (sys.stderr, f"Ready: {url}")
        )
        stream.write(line + "\n")
        stream.flush()

    arguments = ["--host", host, "--port", str(bound_port), *more]
    Launcher(root, listeners, arguments, on_ready=announce).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(description="Serves the active slot of a provisioned device.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8808)
    parser.add_argument("--json", action="store_true", help="say on stdout, as one JSON document, when ready and where")
    parser.add_argument("--check", action="store_true", help="only see whether this launcher can read the record")
    parser.add_argument("more", nargs="*", help="after '--': further arguments for 'edgekit serve'")
    given = parser.parse_args(arguments)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        if given.check:
            read_switch(given.root)
        else:
            launch(given.root, given.host, given.port, given.more, as_json=given.json)
    except EdgeKitError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


class _JsonLine(logging.Formatter):
    """Lines of the form that the servers write (runtime.logs)."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}+00:00"
        line = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
        return json.dumps({**line, "message": record.getMessage()}, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
