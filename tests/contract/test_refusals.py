"""What every backend refuses, in the kit's own errors, and that it answers the next caller as if nothing had been."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from devices.errors import BackendError, BackendMismatchError, BackendNotInstalledError, ModelError, RequestError
from runtime.predictor import ModelFiles, Predictor, RunOptions, load_predictor

Feeds = dict[str, np.ndarray]


def _answers_well(predictor: Predictor, network, feeds) -> None:
    for turn in range(3):  # every request or predictor of the pool, and one again
        asked = feeds(1 + turn, 9, 11, seed=turn)
        outputs = predictor.run(asked)
        for spec, want in zip(predictor.outputs, network.answer(asked).values(), strict=True):
            np.testing.assert_allclose(outputs[spec.name], want, atol=1e-5)


WRONG: dict[str, tuple[Callable[[Feeds], Feeds], str]] = {
    "an input is missing": (lambda feeds: {"image": feeds["image"]}, "'ids', which is missing"),
    "no input at all": (lambda feeds: {}, "which is missing"),
    "one too many": (lambda feeds: {**feeds, "idz": feeds["ids"]}, "no input 'idz'"),
    "another type": (lambda feeds: {**feeds, "ids": feeds["ids"].astype(np.int32)}, "is int32; expected int64"),
    "double precision": (lambda feeds: {**feeds, "image": feeds["image"].astype(np.float64)}, "expected float32"),
    "text": (lambda feeds: {**feeds, "ids": np.array([["a"]])}, "expected int64"),
    "another number of channels": (lambda feeds: {**feeds, "image": feeds["image"][:, :2]}, r"expected \?x3x\?x\?"),
    "a side missing": (lambda feeds: {**feeds, "image": feeds["image"][0]}, r"expected \?x3x\?x\?"),
    "no rows": (lambda feeds: {name: array[:0] for name, array in feeds.items()}, r"is empty: its shape is 0x"),
    "no height": (lambda feeds: {**feeds, "image": feeds["image"][:, :, :0]}, "is empty: its shape is 2x3x0x24"),
    "no words": (lambda feeds: {**feeds, "ids": feeds["ids"][:, :0]}, "is empty: its shape is 2x0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_feeds_that_do_not_fit_are_refused_by_name(predictor: Predictor, network, feeds, case: str) -> None:
    change, said = WRONG[case]
    with pytest.raises(RequestError, match=said):
        predictor.run(change(feeds()))
    _answers_well(predictor, network, feeds)


def test_inputs_of_different_lengths_fail_and_never_give_the_results_of_the_caller_before(load, network, feeds) -> None:
    """OpenVINO's stream of one thread swallowed this error and answered with what it had answered last."""
    for threads in (1, 2):
        predictor = load(threads=threads)
        for _ in range(4):
            predictor.run(feeds())
            with pytest.raises(BackendError, match="network"):
                predictor.run({"image": feeds(3)["image"], "ids": feeds(2)["ids"]})
        _answers_well(predictor, network, feeds)


@pytest.mark.parametrize("word", [50, -1, 10**9, -(10**12)])
def test_a_word_that_is_not_in_the_table_is_answered_or_refused(
    predictor: Predictor, network, feeds, word: int
) -> None:
    """The libraries differ: some refuse it, some count from the end, some take zeros. None may fall over."""
    asked = feeds()
    asked["ids"][1, 2] = word
    try:
        outputs = predictor.run(asked)
    except BackendError:
        pass
    else:
        # the other row and the other output are as if nothing had been
        want = network.answer(feeds())
        np.testing.assert_allclose(outputs[predictor.outputs[0].name], want["map"], atol=1e-5)
        np.testing.assert_allclose(outputs[predictor.outputs[1].name][0], want["scores"][0], atol=1e-5)
    _answers_well(predictor, network, feeds)


@pytest.mark.parametrize("keep", [0, 10, 60, 300])
def test_a_model_that_is_cut_short_is_an_error_of_the_kit(load, keep: int) -> None:
    files = load.files
    load()  # skips where the backend is missing
    with pytest.raises((BackendError, ModelError)):
        load_predictor(ModelFiles("network", files.format, files.graph[:keep], files.weights), load.backend)


def test_a_model_that_is_no_model_is_an_error_of_the_kit(load) -> None:
    load()
    with pytest.raises((BackendError, ModelError)):
        load_predictor(ModelFiles("network", load.files.format, b"\xff" * 500, load.files.weights), load.backend)


@pytest.mark.parametrize("backend", ["openvino:gpu", "onnxruntime:cuda", "onnxruntime:tensorrt", "paddle:gpu"])
def test_a_device_that_is_not_there_is_an_error_and_never_the_cpu(formats, backend) -> None:
    files = formats["paddle" if backend.startswith("paddle") else "onnx"]
    try:
        served_by = load_predictor(files, backend, RunOptions()).backend
    except (BackendMismatchError, BackendNotInstalledError) as error:
        served_by = error.problem
    assert backend in served_by  # on a machine that has it, it is itself
