"""What calibration refuses, and that it says which tensor and which batch are to blame."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from compress.calibration import Range, observe
from devices.errors import CalibrationError
from tests.compress import networks


def roots():
    """The square root of x, which is no number where x is negative."""
    nodes = [helper.make_node("Sqrt", ["x"], ["root"]), helper.make_node("Relu", ["root"], ["y"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])]
    graph = helper.make_graph(nodes, "roots", inputs, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_range_reaches_over_all_feeds():
    model, feeds = networks.convolutions()
    name = model.graph.input[0].name
    ranges = observe(model, [{name: feeds[0][name] * 0}, {name: feeds[0][name]}], [name])
    assert ranges[name] == Range(float(feeds[0][name].min()), float(feeds[0][name].max()))


def test_ranges_inside_the_model_are_those_of_its_tensors():
    ranges = observe(roots(), [{"x": np.array([4, 9], np.float32)}, {"x": np.array([1, 4], np.float32)}], ["root"])
    assert ranges == {"root": Range(1.0, 3.0)}


def test_no_feeds_are_refused():
    with pytest.raises(CalibrationError, match="no calibration data"):
        observe(roots(), [], [])


def test_an_empty_input_is_refused():
    with pytest.raises(CalibrationError, match="'x' of calibration batch 1 is empty"):
        observe(roots(), [{"x": np.ones(1, np.float32)}, {"x": np.ones(0, np.float32)}], ["root"])


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_input_that_is_no_number_is_refused(broken: float):
    feeds = [{"x": np.ones(3, np.float32)}, {"x": np.array([1, broken, 1], np.float32)}]
    with pytest.raises(CalibrationError, match="'x' of calibration batch 1 holds values that are not numbers"):
        observe(roots(), feeds, ["root"])


@pytest.mark.parametrize("place", [0, 7, 63])
def test_a_value_inside_the_model_that_is_no_number_is_refused_by_name(place: int):
    x = np.ones(64, np.float32)
    x[place] = -1
    with pytest.raises(CalibrationError, match="On calibration batch 1, tensor 'root' takes values"):
        observe(roots(), [{"x": np.ones(64, np.float32)}, {"x": x}], ["root", "y"])


def test_feeds_that_do_not_fit_the_model_are_refused():
    with pytest.raises(CalibrationError, match="does not run on calibration batch 0"):
        observe(roots(), [{"x": np.ones((2, 2), np.float32)}], ["root"])
