"""What ``pyproject.toml`` cannot say: a wheel carries the day that it was built from, for ``devices/clock.py``."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class DatedBuild(build_py):
    """Writes ``devices/built.txt``: the time in ``SOURCE_DATE_EPOCH``, by which a build can be repeated, or now."""

    def run(self) -> None:
        """Build as always, then add the date. A checkout that is installed in place is not built, and gets none."""
        super().run()
        if not self.editable_mode:
            built = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())), UTC)
            Path(self.build_lib, "devices", "built.txt").write_text(f"{built.isoformat()}\n", encoding="ascii")


setup(cmdclass={"build_py": DatedBuild})
