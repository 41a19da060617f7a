"""Training on several machines, as members of one ``python -m paddle.distributed.launch`` job.

Only the first process does the work of the command. The others wait in ``team`` for a training to take part in, and
leave when the first is through, so they need neither the command's files nor a disk in common with it:

    python -m paddle.distributed.launch --nnodes 2 --master HOST:PORT $(which edgekit) compress ernie ...

On CPUs the launcher picks gloo, which gives up on a peer after 30 seconds. So the processes first meet at a counter in
Paddle's TCP store, where anybody may come late, and start to exchange numbers when all are there.

Jobs travel as pickles, as in Paddle's own ``broadcast_object_list``: whoever may join the job may run code in it.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POLL_S = 0.001
_IDLE_POLL_S = 0.1
_PIECE_BYTES = 16 << 20
_JOBS, _MET = "edgekit/jobs", "edgekit/met"
_leader: LaunchedWorker | None = None


def leader() -> LaunchedWorker | None:
    """This process's place in the job, where it is the first one inside ``team``."""
    return _leader


@contextmanager
def team() -> Iterator[None]:
    """Let the processes that Paddle's launcher started help with every training inside this block.

    Without the launcher nothing happens. With it, the block is run by the first process only.

    Raises:
        SystemExit: With status 0, in every process but the first, once the first has left the block.
    """
    global _leader
    if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) < 2:
        yield
        return
    worker = LaunchedWorker()
    if worker.rank > 0:
        worker.serve()
        raise SystemExit(0)
    _leader = worker
    try:
        yield
    finally:
        _leader = None
        worker.dismiss()


class LaunchedWorker:
    """A ``compress.parallel.Worker`` that reaches the others through gloo."""

    def __init__(self) -> None:
        from compress.paddle_env import paddle

        paddle.distributed.init_parallel_env()
        self.rank, self.size = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
        self._paddle, self._store = paddle, paddle.base.core.create_or_get_global_tcp_store()
        self._meetings, self._jobs, self._training = 0, 0, False
        self._progress: Callable[[Any], None] | None = None

    def run(self, work: Callable[[Any, Any], Any], job: Any, progress: Callable[[Any], None] | None) -> Any:
        """``work(worker, job)`` here and in all who serve; what it returned here."""
        self._progress, self._training = progress, True
        self._store.add(_JOBS, 1)
        self._give(pickle.dumps((work, job)))
        result = work(self, job)
        self._training = False
        return result

    def serve(self) -> None:
        """Take part in what the first process runs, until it dismisses all."""
        while True:
            while self._store.add(_JOBS, 0) <= self._jobs:
                time.sleep(_IDLE_POLL_S)
            self._jobs += 1
            content = self._give(None)
            if not content:
                self._store.add(_MET, 1)  # and no waiting: the first process takes the store with it
                return
            work, job = pickle.loads(content)  # noqa: S301 - by the first process of this very job
            work(self, job)

    def dismiss(self) -> None:
        """End ``serve`` in the others; where a training was broken off, the launcher ends them."""
        if self._training:
            return
        self._store.add(_JOBS, 1)
        self._give(b"")
        self._meet()  # nobody may need the store any more

    def average(self, arrays: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """The mean of these arrays over all processes; each must call this, with the same shapes."""
        if not arrays:
            return []
        flat = self._paddle.to_tensor(np.concatenate([array.reshape(-1) for array in arrays]))
        self._meet()
        self._paddle.distributed.all_reduce(flat)
        mean = flat.numpy() / np.float32(self.size)
        splits = np.cumsum([array.size for array in arrays])[:-1]
        return [part.reshape(array.shape) for part, array in zip(np.split(mean, splits), arrays, strict=True)]

    def read(self, path: Path) -> bytes | None:
        """What the first process finds in its file ``path``; None where it has none."""
        if self.rank > 0:
            content = self._give(None)
            return content[1:] if content else None
        found = path.read_bytes() if path.is_file() else None
        self._give(b"" if found is None else b"+" + found)
        return found

    def bring(self, path: Path) -> None:
        """Make the first process's file readable under the same path on every machine."""
        own = path.stat().st_size if path.is_file() else -1
        size = int(self._give(str(own).encode() if self.rank == 0 else None))
        (seen,) = self.average([np.array([own == size], np.float32)])
        if seen[0] == 1:
            return
        writes = own != size and os.environ.get("PADDLE_LOCAL_RANK", "0") == "0"
        partial = path.with_name(f"{path.name}.{os.getpid()}")
        if writes:
            path.parent.mkdir(parents=True, exist_ok=True)
        source, mode = (path, "rb") if self.rank == 0 else (partial if writes else Path(os.devnull), "wb")
        with source.open(mode) as file:
            for start in range(0, size, _PIECE_BYTES):
                piece = np.zeros(min(_PIECE_BYTES, size - start), np.uint8)
                if self.rank == 0:
                    piece = np.frombuffer(file.read(piece.size), np.uint8)
                piece = self._broadcast(piece)
                if self.rank > 0:
                    file.write(piece.tobytes())
        if writes:
            partial.replace(path)
        self._meet()

    def report(self, message: Any) -> None:
        """Pass on progress; only the first process's is."""
        if self._progress is not None:
            self._progress(message)

    def _meet(self) -> None:
        """Wait until all processes have come here as often as this one."""
        self._meetings += 1
        here = self._store.add(_MET, 1)
        while here < self._meetings * self.size:
            time.sleep(_POLL_S)
            here = self._store.add(_MET, 0)

    def _broadcast(self, array: NDArray[Any]) -> NDArray[Any]:
        tensor = self._paddle.to_tensor(array)
        self._meet()
        self._paddle.distributed.broadcast(tensor, 0)
        got: NDArray[Any] = tensor.numpy()
        return got

    def _give(self, content: bytes | None) -> bytes:
        """The first process's bytes, in all."""
        size = int(self._broadcast(np.array([0 if content is None else len(content)], np.int64))[0])
        if not size:
            return b""
        got = bytearray()
        for start in range(0, size, _PIECE_BYTES):
            piece = np.zeros(min(_PIECE_BYTES, size - start), np.uint8)
            if content is not None:
                piece = np.frombuffer(content, np.uint8, piece.size, start)
            got += self._broadcast(piece).tobytes()
        return bytes(got)
