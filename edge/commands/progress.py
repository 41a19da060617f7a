"""A progress bar on stderr for commands that take longer than a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[str, float], None]]:
    """Yield a callback that takes a stage's name and the share of it that is done, 0 to 1.

    What follows a line break in the name is shown below it.

    The bar shows the time that the stage took so far, and how long it will go on.

    Where stderr is no terminal, one line a stage is printed instead of a bar.
    """
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, console)
        return
    # narrow enough to leave room for what is going on and the best so far, on 80 columns
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=12), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        task = bars.add_task(what, total=1.0)
        now = ""

        def show(stage: str, share: float) -> None:
            nonlocal now
            if stage != now:  # each stage has a speed of its own, which the time left is reckoned from
                bars.reset(task, total=1.0)
                now = stage
            bars.update(task, description=f"{what}: {stage}", completed=share)

        yield show


def _lines(what: str, console: Console) -> Callable[[str, float], None]:
    seen: list[str] = []

    def show(stage: str, share: float) -> None:
        if stage not in seen[-1:]:
            seen.append(stage)
            console.print(f"{what}: {', '.join(stage.splitlines())}", highlight=False, soft_wrap=True)

    return show
