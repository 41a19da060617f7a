"""``./build.sh bench [NAME ...]``: each benchmark prints its table and writes ``benchmarks/results/NAME.json``."""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
from collections.abc import Sequence

from rich.console import Console

from benchmarks.harness import DOCUMENT, ROOT, Report, update_document
from devices.errors import EdgeKitError, UsageError
from edge.commands.progress import progress_bar

NAMES = ("compress", "devices", "fleet", "offline", "runtime", "scoring")


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The benchmarks to run: those named, or all.

    Raises:
        UsageError: There is no benchmark of that name.
    """
    for name in names:
        if name not in NAMES:
            near = difflib.get_close_matches(name, NAMES, n=1)
            raise UsageError(
                f"There is no benchmark {name!r}.",
                state="Nothing was measured.",
                remedy=(f"Did you mean {near[0]!r}? " if near else "") + f"The benchmarks are {', '.join(NAMES)}.",
            )
    return tuple(dict.fromkeys(names)) or NAMES


def run(name: str, console: Console) -> None:
    """Run one benchmark: rows as they come, then the table, the JSON and the document."""
    module = importlib.import_module(f"benchmarks.{name}")
    report = Report(name, console)
    with progress_bar(f"bench {name}") as progress:
        module.measure(report, progress)
    console.print(report.table())
    console.print(f"Written: {report.write().relative_to(ROOT)}", highlight=False)
    if any(row.figure is None for row in report.rows):
        console.print(f"{DOCUMENT.relative_to(ROOT)} keeps its figures: rows were skipped.", highlight=False)
    else:
        update_document(name, report.markdown())
        console.print(f"Written: {DOCUMENT.relative_to(ROOT)}", highlight=False)


def main(arguments: Sequence[str]) -> int:
    """Run what is named; returns the exit status."""
    console = Console()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that children are ended too
    try:
        for name in chosen(arguments):
            run(name, console)
    except EdgeKitError as error:
        Console(stderr=True).print(str(error), highlight=False)
        return error.exit_code
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted. Rows that were finished are in benchmarks/results.")
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
