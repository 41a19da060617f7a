"""A further model's score: what it is fed, what is read of it, and sections that do not fit their model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from devices.errors import ApplicationError, BackendError, PolicyError
from edge.further_score import FurtherScore, check_section, probability
from edge.policy import ScorePolicy
from runtime.choice import Golden
from runtime.predictor import TensorSpec

WORDS = {"zh": "关系网络风险：$what", "en": "The network looks risky: $what"}
MISSING = {"required": True, "zh": "关系网络", "en": "the network"}


def section(**changed: Any) -> ScorePolicy:
    return ScorePolicy.model_validate(
        {"model": "gang-fraud", "points": 10, "floor": 0.2, "review_from": 0.5, "reason": WORDS, "missing": MISSING}
        | changed
    )


class Network:
    """A model that answers as it is told and keeps what it was fed."""

    name = "gang-fraud"
    inputs = (TensorSpec("nodes", "float32", (None, 2)), TensorSpec("edges", "int64", (2, None)))

    def __init__(self, answer: Any) -> None:
        self.answer, self.fed = np.asarray(answer, np.float32), {}

    def run(self, feeds):
        self.fed = feeds
        return {"p": self.answer}


INPUTS = {"nodes": [[1, 2.5], [3, 4]], "edges": [[0, 1], [1, 0]]}


def scored(answer: Any = ((0.4, 0.6),), inputs: Any = INPUTS, **changed: Any) -> float:
    return FurtherScore("gang", Network(answer), section(**changed)).of(inputs)


def test_lists_of_numbers_become_what_the_model_takes() -> None:
    network = Network([[0.4, 0.6]])
    assert FurtherScore("gang", network, section(place=[0, 1])).of(INPUTS) == pytest.approx(0.6)
    assert {name: array.dtype.name for name, array in network.fed.items()} == {"nodes": "float32", "edges": "int64"}
    np.testing.assert_array_equal(network.fed["nodes"], [[1, 2.5], [3, 4]])


def test_logits_are_read_as_probabilities() -> None:
    assert scored([[1.0, 3.0, 1.0]], reads="softmax", place=[0, 1]) == pytest.approx(np.exp(2) / (np.exp(2) + 2))
    assert scored([[-1000.0, 1000.0]], reads="softmax", place=[0, 1]) == 1.0
    assert scored([[-2.0]], reads="sigmoid") == pytest.approx(1 / (1 + np.exp(2)))
    assert scored([-900.0], reads="sigmoid", place=[0]) == 0.0


def test_a_probability_that_rounding_pushed_past_one_is_one() -> None:
    assert scored([[1.0004]]) == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, 1.2, -0.1])
def test_what_is_no_probability_scores_nobody(value: float) -> None:
    with pytest.raises(BackendError, match="which is no probability"):
        scored([[value]])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"nodes": [[1, 2], [3]]}, r"score_inputs\.gang\.nodes is no table"),
        ({"nodes": [[1, 2, 3]]}, r"score_inputs\.gang: .* has shape 1x3; expected \?x2"),
        ({"nodes": [["a", "b"]]}, r"gang\.nodes does not hold float32 alone"),
        ({"nodes": [[True, False]]}, r"gang\.nodes does not hold float32 alone"),
        ({"nodes": [[1, None]]}, r"gang\.nodes does not hold float32 alone"),
        ({"nodes": [[1, float("nan")]]}, r"gang\.nodes holds a number that is no float32"),
        ({"nodes": [[1, 1e300]]}, r"gang\.nodes holds a number that is no float32"),
        ({"nodes": {"a": 1}}, r"gang\.nodes does not hold float32 alone"),
        ({"edges": [[0.5], [1]]}, r"gang\.edges does not hold int64 alone"),
        ({"edges": [[2**70], [1]]}, r"gang\.edges does not hold int64 alone"),
        ({"edges": [[2**63], [2**63]]}, r"gang\.edges holds a number that is no int64"),
        ({"edges": [[], []]}, "'edges' of gang-fraud is empty"),
        ({"more": [[1]]}, r"score_inputs\.gang: .* no input 'more'"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_with_their_place(changed: Any, said: str) -> None:
    with pytest.raises(ApplicationError, match=said):
        scored(inputs=INPUTS | changed)


def test_an_input_that_is_missing_is_named() -> None:
    with pytest.raises(ApplicationError, match="needs input 'edges'"):
        scored(inputs={"nodes": [[1, 2]]})


def test_a_place_beyond_a_smaller_output_is_the_application_s_fault() -> None:
    with pytest.raises(ApplicationError, match=r"place \[3, 0\] is no value .* which is 1x2"):
        scored(place=[3, 0])


GOLDEN = Golden({}, {"p": np.array([[0.3, 0.7]], np.float32)})


def test_a_section_that_fits_is_accepted() -> None:
    check_section("gang", section(place=[0, 1]), {"gang-fraud": GOLDEN})
    check_section("gang", section(output="p"), {"gang-fraud": GOLDEN})
    check_section("gang", section(), {"gang-fraud": None})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "gangs"}, "names the model 'gangs'; the bundle has gang-fraud"),
        ({"output": "q"}, "names q output; gang-fraud has 'p'"),
        ({"place": [0, 2]}, r"place \[0, 2\] is no value"),
        ({"place": [0]}, r"place \[0\] is no value"),
    ],
)
def test_a_section_that_does_not_fit_its_model_is_refused(changed: Any, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        check_section("gang", section(**changed), {"gang-fraud": GOLDEN})


def test_logits_without_reads_are_found_with_what_to_set() -> None:
    logits = Golden({}, {"p": np.array([[0.3, 7.0]], np.float32)})
    with pytest.raises(PolicyError, match="reads 7 in the golden output") as caught:
        check_section("gang", section(place=[0, 1]), {"gang-fraud": logits})
    assert "'softmax'" in caught.value.remedy
    check_section("gang", section(place=[0, 1], reads="softmax"), {"gang-fraud": logits})


def test_of_several_outputs_one_has_to_be_named() -> None:
    two = Golden({}, GOLDEN.outputs | {"hidden": np.zeros((1, 2), np.float32)})
    with pytest.raises(PolicyError, match="names no output; gang-fraud has 'hidden', 'p'"):
        check_section("gang", section(), {"gang-fraud": two})
    assert probability(two.outputs["p"], section(place=[0, 1])) == pytest.approx(0.7)
