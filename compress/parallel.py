"""Training on several processes of one thread each, which average their gradients after every step.

On two cores this trains ERNIE about twice as fast as one process with two threads, because much of Paddle's work on
the CPU is elementwise and runs on one thread only. The averages are sums in a fixed order, so the same job gives the
same weights on every run. Inside ``compress.launched.team`` the processes are those of Paddle's launcher instead.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compress import launched
from devices.errors import CompressionError, EdgeKitError

PROCESSES = 2  # fixed, not the number of cores: it decides which gradients are summed, and so the result
_STEP_TIMEOUT_S = 600


class Worker(Protocol):
    """What one of the processes knows: which part of the work is its own, and how to reach the others.

    Attributes:
        rank: From 0; the first process's results are kept.
        size: How many processes there are.
    """

    rank: int
    size: int

    def average(self, arrays: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The mean of these arrays over all processes; each must call this, with the same shapes."""

    def read(self, path: Path) -> bytes | None:
        """What the first process finds in its file ``path``; None where it has none. All must call this."""

    def bring(self, path: Path) -> None:
        """Make the first process's file readable under the same path by all. All must call this."""

    def report(self, message: Any) -> None:
        """Send progress; only the first process's is passed on."""


class SharedWorker:
    """A worker on this machine: numbers go through shared memory, files are everybody's."""

    def __init__(self, rank: int, shared: Any, barrier: Barrier, pipe: Connection) -> None:
        self.rank, self.size = rank, PROCESSES
        self._shared = np.frombuffer(shared, np.float32).reshape(PROCESSES, -1)
        self._barrier, self._pipe = barrier, pipe

    def average(self, arrays: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """As ``Worker.average``."""
        mine = self._shared[self.rank]
        end = 0
        for array in arrays:
            start, end = end, end + array.size
            mine[start:end] = array.reshape(-1)
        self._barrier.wait(_STEP_TIMEOUT_S)
        mean = self._shared[:, :end].mean(axis=0)
        self._barrier.wait(_STEP_TIMEOUT_S)  # nobody writes the next step before all have read this one
        splits = np.cumsum([array.size for array in arrays])[:-1]
        return [part.reshape(array.shape) for part, array in zip(np.split(mean, splits), arrays, strict=True)]

    def read(self, path: Path) -> bytes | None:
        """As ``Worker.read``."""
        found = path.read_bytes() if path.is_file() else None
        self._barrier.wait(_STEP_TIMEOUT_S)  # the first process may write it anew only now
        return found

    def bring(self, path: Path) -> None:
        """As ``Worker.bring``; here all see the same disk."""

    def report(self, message: Any) -> None:
        """As ``Worker.report``."""
        if self.rank == 0:
            self._pipe.send(("progress", message))


def run_parallel(
    work: Callable[[Any, Any], Any],
    job: Any,
    *,
    shared_floats: int,
    progress: Callable[[Any], None] | None = None,
) -> Any:
    """Call ``work(worker, job)`` in every process.

    The processes end with this call, however it ends, and when this process is killed.

    Args:
        work: A function at the top level of a module; gets a ``Worker`` and the job.
        job: Handed to each process by pickling, as is the result.
        shared_floats: The most numbers that one call of ``average`` takes.
        progress: Gets the first process's reports.

    Returns:
        What ``work`` returned in the first process.

    Raises:
        EdgeKitError: As ``work`` raised it in a process.
        CompressionError: A process died; its own words are on stderr.
    """
    if (leader := launched.leader()) is not None:
        return leader.run(work, job, progress)
    context = multiprocessing.get_context("spawn")  # a forked Paddle can hang in OpenMP
    shared = context.RawArray("f", shared_floats * PROCESSES)
    barrier = context.Barrier(PROCESSES)
    receiver, sender = context.Pipe(duplex=False)
    processes = [
        context.Process(target=_enter, args=(work, job, rank, shared, barrier, sender), daemon=True)
        for rank in range(PROCESSES)
    ]
    try:
        with _one_thread_each(), _ctrl_c_is_ours():
            for process in processes:
                process.start()
        sender.close()
        result = _listen(processes, receiver, progress)
        for process in processes:
            process.join(_STEP_TIMEOUT_S)
        return result
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def _listen(processes: Sequence[Any], receiver: Connection, progress: Callable[[Any], None] | None) -> Any:
    while True:
        ready = wait([receiver, *(process.sentinel for process in processes)])
        if receiver in ready and receiver.poll():
            kind, value = receiver.recv()
            if kind == "result":
                return value
            if kind == "error":
                raise value
            if progress is not None:
                progress(value)
            continue
        for process in processes:
            if process.exitcode not in (None, 0):
                raise CompressionError(f"A training process ended with exit code {process.exitcode}.")


def _enter(
    work: Callable[[Worker, Any], Any], job: Any, rank: int, shared: Any, barrier: Barrier, pipe: Connection
) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        result = work(SharedWorker(rank, shared, barrier, pipe), job)
    except EdgeKitError as error:
        pipe.send(("error", error))
        raise SystemExit(1) from error
    if rank == 0:
        pipe.send(("result", result))


def _end_with_parent() -> None:
    """A killed command leaves no trainer behind that would write over the next command's work."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _ctrl_c_is_ours() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C, which the terminal sends to all: this one ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
