"""``./build.sh bench [NAME ...]``: each benchmark prints its table and writes ``benchmarks/results/NAME.json``.

A name is a benchmark or one part of it: ``runtime``, ``runtime/ocr``. Without names all of them run, which takes about
three hours on two cores.
"""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import history
from benchmarks.harness import DOCUMENT, ROOT, Report, machine_class, update_document
from devices.errors import EdgeKitError, UsageError
from edge.commands.progress import progress_bar

# the parts of each; a benchmark without parts is measured as a whole
PARTS: dict[str, tuple[str, ...]] = {
    "compress": ("speed", "whole", "ocr", "text"),
    "devices": (),
    "fleet": (),
    "limit": (),
    "offline": ("journal", "kills", "replay", "line"),
    "runtime": ("ocr", "serving", "paddle", "application", "endurance"),
    "scoring": ("documents", "text", "behaviour", "graph", "card", "whole"),
    "start-up": (),
}
NAMES = (*PARTS, *(f"{name}/{part}" for name, parts in PARTS.items() for part in parts))


def chosen(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The benchmarks to run and the parts of each: those named, or all.

    Raises:
        UsageError: There is no benchmark of that name.
    """
    wanted: dict[str, set[str]] = {}
    for given in names or PARTS:
        if given not in NAMES:
            near = difflib.get_close_matches(given, NAMES, n=1)
            raise UsageError(
                f"There is no benchmark {given!r}.",
                state="Nothing was measured.",
                remedy=(f"Did you mean {near[0]!r}? " if near else "") + f"The benchmarks are {', '.join(NAMES)}.",
            )
        name, _, part = given.partition("/")
        wanted.setdefault(name, set()).update([part] if part else PARTS[name])
    return {name: tuple(part for part in PARTS[name] if part in parts) for name, parts in wanted.items()}


def run(name: str, parts: Sequence[str], console: Console) -> None:
    """Run a benchmark: rows as they come, then the table, the JSON, the history and the document."""
    module = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
    before = history.earlier(name, machine_class())
    report = Report(name, console, again=parts if set(parts) != set(PARTS[name]) else None, before=before)
    with progress_bar(f"bench {name}") as progress:
        if not PARTS[name]:
            module.measure(report, progress)
        for part in parts:
            report.begin(part)
            with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as scratch:
                module.MEASURES[part](report, Path(scratch), progress)
    if hasattr(module, "draw"):
        module.draw(report)
    console.print(report.table())
    for path in (report.write(), report.keep()):
        console.print(f"Written: {path.relative_to(ROOT)}", highlight=False)
    for part in parts or ("",):
        section = f"{name}/{part}" if part else name
        if any(row.figure is None for row in report.part(part)):
            console.print(f"{DOCUMENT.relative_to(ROOT)} keeps {section}: rows were skipped.", highlight=False)
        else:
            update_document(section, report.markdown(part))
            console.print(f"Written: {DOCUMENT.relative_to(ROOT)}, {section}", highlight=False)


def main(arguments: Sequence[str]) -> int:
    """Run what is named; returns the exit status."""
    console = Console()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that children are ended too
    try:
        for name, parts in chosen(arguments).items():
            run(name, parts, console)
    except EdgeKitError as error:
        Console(stderr=True).print(str(error), highlight=False)
        return error.exit_code
    except KeyboardInterrupt:
        Console(stderr=True).print("Interrupted. Rows that were finished are in benchmarks/results.")
        return 128 + signal.SIGINT
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
