"""Loading, serving for long and going away: what a predictor leaves behind."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from devices.errors import BackendError
from runtime.memory import release_memory


def _resident_mb() -> float:
    release_memory()  # as a worker does: what is free is no growth
    return psutil.Process().memory_info().rss / 1e6


def test_loading_again_and_again_gives_back_threads_and_memory(load, feeds) -> None:
    def use() -> None:
        predictor = load()
        for seed in range(3):
            predictor.run(feeds(height=64, width=64, seed=seed))

    for _ in range(3):
        use()
    gc.collect()
    threads, before = threading.active_count(), _resident_mb()
    for _ in range(15):
        use()
    assert _resident_mb() - before < 30  # one picture's features are 0.13 MB, a library's arena some
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.05)
    assert threading.active_count() <= threads


def test_shapes_never_seen_before_do_not_add_up(load, feeds) -> None:
    """oneDNN prepares kernels for every shape, and arenas keep patterns for it (Paddle#25506, RapidOCR#187)."""
    predictor = load(few_shapes=False)
    rng = np.random.default_rng(2)

    def read(pages: int) -> float:
        for _ in range(pages):
            height, width = (int(side) for side in rng.integers(8, 400, 2))
            predictor.run(feeds(1, height, width))
        return _resident_mb()

    until_full = 800 if predictor.backend == "openvino" else 80  # it keeps 400 operators; 0.15 MB each of this network
    before = read(until_full)
    assert read(200) - before < 25


@pytest.mark.parametrize("place", ["new/below", "a file", "below a file"])
def test_a_cache_that_cannot_be_written_is_no_cache_or_an_error_of_the_kit(
    load, network, feeds, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("not a directory")
    cache = {"new/below": tmp_path / "new" / "below", "a file": tmp_path / "file"}.get(place, tmp_path / "file" / "x")
    try:
        predictor = load(cache_dir=cache)
    except BackendError as error:
        said = error.problem
    else:
        said = ""
    if said:
        assert place != "new/below", said
        assert "network" in said or str(cache) in said
        return
    asked = feeds()
    outputs = predictor.run(asked)
    for spec, want in zip(predictor.outputs, network.answer(asked).values(), strict=True):
        np.testing.assert_allclose(outputs[spec.name], want, atol=1e-5)


def test_a_damaged_cache_is_made_again(load, network, feeds, tmp_path: Path) -> None:
    load(cache_dir=tmp_path)
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        path.write_bytes(path.read_bytes()[:100] + b"damaged")
    predictor, asked = load(cache_dir=tmp_path), feeds()
    outputs = predictor.run(asked)
    for spec, want in zip(predictor.outputs, network.answer(asked).values(), strict=True):
        np.testing.assert_allclose(outputs[spec.name], want, atol=1e-5)


def test_as_many_run_at_once_as_the_options_allow(load, feeds) -> None:
    """With two allowed, two long runs take equally long; where one waits for the other, it takes twice as long."""
    predictor = load(parallel=2)
    page = feeds(1, 1200, 1200)
    predictor.run(page)
    took: list[float] = []
    barrier = threading.Barrier(2)

    def run() -> None:
        barrier.wait()
        start = time.monotonic()
        predictor.run(page)
        took.append(time.monotonic() - start)

    for _ in range(8):  # a busy machine may let one through before the other starts
        took.clear()
        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if max(took) < 1.4 * min(took):
            return
    pytest.fail("one run waited for the other")
