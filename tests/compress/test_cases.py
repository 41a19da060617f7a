"""Calibration cases: three forms, and everything that may be wrong with them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from compress.cases import read_cases, run_cases
from devices.errors import BackendError, CalibrationError
from runtime.predictor import TensorSpec


class Model:
    """A predictor with an input whose first axis is a batch and one whose first axis is none."""

    name = "m"
    inputs = (TensorSpec("x", "float32", (None, 3)), TensorSpec("edges", "int64", (2, None)))

    def __init__(self, answer: object = 0.0) -> None:
        self.answer = answer

    def run(self, feeds):
        if isinstance(self.answer, BackendError):
            raise self.answer
        return {"y": np.full((1, 2), self.answer, np.float32)}


GOOD = {"x": np.zeros((4, 3), np.float32), "edges": np.zeros((4, 2, 7), np.int64)}


def read(tmp_path: Path, **arrays: np.ndarray):
    np.savez(tmp_path / "cases.npz", **arrays)
    return read_cases(tmp_path / "cases.npz", Model())


def test_a_row_is_a_batch_of_one_or_where_the_array_has_one_dimension_more_the_whole_input(tmp_path: Path):
    cases = read(tmp_path, **GOOD)
    assert len(cases) == 4
    assert {name: array.shape for name, array in cases[0].items()} == {"x": (1, 3), "edges": (2, 7)}
    graphs = read(tmp_path, x=np.arange(60, dtype=np.float32).reshape(4, 5, 3), edges=GOOD["edges"])
    assert graphs[2]["x"].tolist() == np.arange(30, 45, dtype=np.float32).reshape(5, 3).tolist()


def test_cases_that_differ_in_shape_come_by_number(tmp_path: Path):
    arrays = {f"{i}:x": np.full((i + 1, 3), i, np.float32) for i in range(11)}
    arrays |= {f"{i}:edges": np.zeros((2, i + 1), np.int64) for i in range(11)}
    cases = read(tmp_path, **arrays)
    assert [len(case["x"]) for case in cases] == list(range(1, 12))
    assert cases[10]["edges"].shape == (2, 11)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros((3, 3), np.float32), "edges": np.zeros((3, 2, 7), np.int64)}, "3 cases; .* at least 4"),
        ({"x": np.zeros((5, 3), np.float32)}, "differ in their number of cases: {'x': 5, 'edges': 4}"),
        ({"x": np.zeros((4, 3))}, "Case 0 .* 'x' of m is float64; expected float32"),
        ({"x": np.zeros((4, 5), np.float32)}, "Case 0 .* 'x' of m has shape 1x5; expected .x3"),
        ({"z": np.zeros((4, 3), np.float32)}, "Case 0 .* no input 'z'"),
        (
            {"x": np.full((4, 3), [[0], [0], [np.nan], [0]], np.float32)},
            "'x' of case 2 .* holds 3 that are not numbers",
        ),
        ({"x": np.full((4, 3), np.inf, np.float32)}, "'x' of case 0 .* not numbers"),
        ({"x": np.float32(1)}, "differ in their number of cases"),
    ],
)
def test_cases_that_do_not_fit_are_refused_by_input_and_case(tmp_path: Path, changed, message: str):
    with pytest.raises(CalibrationError, match=message):
        read(tmp_path, **(GOOD | changed))


def test_a_missing_input_is_named_with_what_the_model_takes(tmp_path: Path):
    with pytest.raises(CalibrationError, match="needs input 'edges', which is missing") as caught:
        read(tmp_path, x=GOOD["x"])
    assert "x (float32, ?x3), edges (int64, 2x?)" in caught.value.remedy
    with pytest.raises(CalibrationError, match="Case 3 .* needs input 'edges'"):
        read(tmp_path, **{f"{i}:x": GOOD["x"] for i in range(4)}, **{f"{i}:edges": GOOD["edges"][0] for i in range(3)})


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((4, 3), np.float32))
    return file.getvalue()


def _pickled() -> bytes:
    file = io.BytesIO()
    np.savez(file, x=np.array([{"code": 1}], object))
    return file.getvalue()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04truncated", _npy(), _pickled()])
def test_a_damaged_npz_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(CalibrationError, match=r"cannot be read as \.npz"):
        read_cases(tmp_path / "damaged.npz", Model())


def test_an_npz_of_nothing_is_refused(tmp_path: Path):
    with pytest.raises(CalibrationError, match="no arrays"):
        read(tmp_path)


@pytest.mark.parametrize("answer", [np.nan, np.inf])
def test_a_model_that_fails_on_the_cases_is_not_measured_by_itself(tmp_path: Path, answer: float):
    cases = read(tmp_path, **GOOD)
    with pytest.raises(CalibrationError, match="output 'y' is not a number"):
        run_cases(Model(answer), cases, tmp_path / "cases.npz")
    with pytest.raises(CalibrationError, match="out of range") as caught:
        run_cases(Model(BackendError("Index 9 is out of range.")), cases, tmp_path / "cases.npz")
    assert "NUMBER:NAME" in caught.value.remedy
