"""``python -m benchmarks.devices_victim STEP COUNT_FILE ARGUMENTS ...``: edgekit, killed at its STEP-th change on disk.

SIGKILL goes to the whole process group, so that pip and the launcher die in the same moment, as they do when the power
fails. With STEP 0 nothing is killed, and COUNT_FILE says how many steps there are.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

_CHANGES = frozenset(
    ("os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
    + ("subprocess.Popen",)
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> int:
    """Run edgekit under the hook."""
    from edge.cli import main as edgekit

    fatal, count_file, arguments = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    steps = 0

    def count(event: str, values: tuple[Any, ...]) -> None:
        nonlocal steps
        if event in _CHANGES or (event == "open" and isinstance(values[2], int) and values[2] & _WRITING):
            steps += 1
            if steps == fatal:
                os.killpg(os.getpgrp(), signal.SIGKILL)

    sys.addaudithook(count)
    status = edgekit(arguments)
    if not fatal:
        count_file.write_text(str(steps))
    return status


if __name__ == "__main__":
    sys.exit(main())
