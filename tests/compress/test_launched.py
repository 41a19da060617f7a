"""Two processes under Paddle's own launcher: the result is that of the kit's own two processes, bit for bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from compress.launched import leader, team
from tests.compress.ernie.small_training import result

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
import numpy as np
import program_of_launched as work
from compress.launched import team
from compress.parallel import run_parallel
from tests.compress.ernie.small_training import result

scratch = Path({scratch!r})
with team():
    (scratch / "runs").open("a").write("one ")
    learned = result({{"state": scratch / "state.npz"}})
    again = run_parallel(work.copying, scratch, shared_floats=2)
np.savez(scratch / "learned.npz", *learned)
(scratch / "copied").write_text(str(again))
"""
WORK = """
import os
from pathlib import Path
import numpy as np

def copying(worker, scratch):
    '''The second process is in a directory where the file is not, as on a machine without a common disk.'''
    home = scratch / f"machine{worker.rank}"
    home.mkdir(exist_ok=True)
    os.chdir(home)
    os.environ["PADDLE_LOCAL_RANK"] = "0"
    if worker.rank == 0:
        Path("answers.bin").write_bytes(bytes(range(256)) * 100_000)
    worker.bring(Path("answers.bin"))
    worker.bring(Path("answers.bin"))
    mean, = worker.average([np.array([worker.rank, Path("answers.bin").stat().st_size], np.float32)])
    return mean.tolist()
"""


def test_paddles_launcher_gives_the_same_bits(tmp_path: Path) -> None:
    (tmp_path / "program_of_launched.py").write_text(WORK)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(root=str(ROOT), scratch=str(tmp_path)))
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--host", "127.0.0.1"]
    done = subprocess.run(
        [*command, "--log_dir", str(tmp_path / "log"), str(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    logs = "".join(path.read_text() for path in (tmp_path / "log").glob("workerlog.*"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    assert (tmp_path / "runs").read_text() == "one "  # only the first process ran the block, or went on behind it
    size = 256 * 100_000
    assert (tmp_path / "copied").read_text() == str([0.5, float(size)])
    assert (tmp_path / "machine1" / "answers.bin").read_bytes() == bytes(range(256)) * 100_000
    alone = result({"state": tmp_path / "alone.npz"})
    with np.load(tmp_path / "learned.npz") as learned:
        for got, wanted in zip((learned[name] for name in learned.files), alone, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_without_the_launcher_a_team_is_nothing(monkeypatch) -> None:
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    with team():
        assert leader() is None
