"""What every backend answers: the same, to whoever asks, however they ask."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from runtime.choice import Golden, check_parity
from runtime.predictor import Predictor

TOLERANCE = 1e-5


def _answers(predictor: Predictor, feeds: dict) -> list[np.ndarray]:
    outputs = predictor.run(feeds)
    return [outputs[spec.name] for spec in predictor.outputs]


def test_a_predictor_says_what_it_is(load, formats) -> None:
    predictor = load()
    assert predictor.backend == load.backend
    assert (predictor.name, predictor.precision) == ("network", "fp32")
    assert predictor.sha256 == load.files.sha256
    described = {spec.name: (spec.dtype, spec.shape) for spec in predictor.inputs}
    assert described == {"image": ("float32", (None, 3, None, None)), "ids": ("int64", (None, None))}
    assert [spec.dtype for spec in predictor.outputs] == ["float32", "float32"]


def test_the_answers_are_those_worked_out_by_hand(predictor: Predictor, network, feeds) -> None:
    for shape in ({}, {"rows": 1, "height": 33, "width": 7, "words": 1}, {"rows": 5, "height": 3, "words": 40}):
        asked = feeds(**shape)
        expected = dict(zip((spec.name for spec in predictor.outputs), network.answer(asked).values(), strict=True))
        check_parity(predictor, Golden(asked, expected), tolerance=TOLERANCE)


def test_inputs_are_bound_by_name_whatever_their_order(predictor: Predictor, network, feeds) -> None:
    asked = feeds()
    for order in (("image", "ids"), ("ids", "image")):
        for got, want in zip(
            _answers(predictor, {name: asked[name] for name in order}), network.answer(asked).values(), strict=True
        ):
            np.testing.assert_allclose(got, want, atol=TOLERANCE)


def test_an_array_that_is_a_view_with_steps_is_read_as_it_looks(predictor: Predictor, network, feeds) -> None:
    asked = feeds()
    turned = {"image": asked["image"][:, :, ::-1, ::-1], "ids": np.asfortranarray(asked["ids"])[:, ::-1]}
    for got, want in zip(_answers(predictor, turned), network.answer(turned).values(), strict=True):
        np.testing.assert_allclose(got, want, atol=TOLERANCE)


def test_an_output_is_a_copy_and_an_input_is_left_alone(predictor: Predictor, feeds) -> None:
    asked = feeds()
    before = {name: array.copy() for name, array in asked.items()}
    first = _answers(predictor, asked)
    kept = [array.copy() for array in first]
    for name, array in asked.items():
        np.testing.assert_array_equal(array, before[name])
        array[...] = 0
    for seed in range(1, 6):  # as many as there are requests or predictors in the pool, and more
        _answers(predictor, feeds(seed=seed))
    for array, copy in zip(first, kept, strict=True):
        np.testing.assert_array_equal(array, copy)
        array[...] = 0  # the caller's own


def test_shapes_may_change_from_run_to_run(predictor: Predictor, network, feeds) -> None:
    rng = np.random.default_rng(1)
    for turn in range(30):
        rows, height, width, words = (int(side) for side in rng.integers((1, 1, 1, 1), (5, 40, 40, 20)))
        asked = feeds(rows, height, width, words, seed=turn)
        for got, want in zip(_answers(predictor, asked), network.answer(asked).values(), strict=True):
            np.testing.assert_allclose(got, want, atol=TOLERANCE)


def test_eight_threads_never_get_each_others_results(predictor: Predictor, network, feeds) -> None:
    wrong: list[int] = []

    def ask(who: int) -> None:
        for turn in range(25):
            asked = feeds(1 + who % 3, 8 + who, 8 + turn % 3, seed=who * 1000 + turn)
            for got, want in zip(_answers(predictor, asked), network.answer(asked).values(), strict=True):
                if got.shape != want.shape or not np.allclose(got, want, atol=TOLERANCE):
                    wrong.append(who)
            if turn == 12 and who == 0:
                predictor.drop_caches()

    threads = [threading.Thread(target=ask, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_dropping_caches_changes_no_answer(predictor: Predictor, network, feeds) -> None:
    asked = feeds()
    for _ in range(2):
        predictor.drop_caches()
        for got, want in zip(_answers(predictor, asked), network.answer(asked).values(), strict=True):
            np.testing.assert_allclose(got, want, atol=TOLERANCE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_values_that_are_no_numbers_stay_with_who_sent_them(predictor: Predictor, network, feeds, value: float) -> None:
    """What comes out differs: ReLU keeps NaN in one library and makes it zero in another."""
    asked = feeds()
    asked["image"][0, 0, 0, 0] = value
    assert [array.shape for array in _answers(predictor, asked)] == [(2, 1, 16, 24), (2, 4)]
    asked = feeds(seed=1)
    for got, want in zip(_answers(predictor, asked), network.answer(asked).values(), strict=True):
        np.testing.assert_allclose(got, want, atol=TOLERANCE)
