"""Calibration cases of any model: an ``.npz`` of inputs by name.

Each array's rows are the cases, in one of three forms:

    (cases, ...)       as many dimensions as the model's input: a row is fed as a batch of one
    (cases, ...)       one dimension more than the model's input: a row is fed as it is. So come inputs whose first
                       axis is no batch: the nodes of a graph, its edges
    NUMBER:NAME        an array for each case, fed as it is; for cases that differ in shape, such as graphs of
                       different size or histories of different length
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.errors import BackendError, CalibrationError, RequestError
from runtime.predictor import Predictor, TensorSpec, check_feeds

Case = dict[str, NDArray[np.generic]]
LEAST = 4  # cases: three to calibrate with and one to measure on
_NUMBERED = re.compile(r"(\d+):(.+)")


def read_cases(path: Path, predictor: Predictor) -> list[Case]:
    """Read the cases, and see that the model takes them.

    Args:
        path: The ``.npz`` file.
        predictor: The uncompressed model.

    Returns:
        What to feed, case by case.

    Raises:
        CalibrationError: The file cannot be read, an input is missing, unknown, or of another type or shape than the
            model's, a value is not a number, or there are fewer than four cases. Input and case are named.
    """
    arrays = _read(path)
    known = {spec.name for spec in predictor.inputs}
    if all(_NUMBERED.fullmatch(name) for name in arrays) and not known & set(arrays):
        cases = _numbered(arrays)
    else:
        cases = _rows(arrays, predictor.inputs, path)
    if len(cases) < LEAST:
        raise CalibrationError(f"{path} holds {len(cases)} cases; calibrating and measuring need at least {LEAST}.")
    for number, case in enumerate(cases):
        try:
            check_feeds(predictor.name, predictor.inputs, case)
        except RequestError as error:
            raise CalibrationError(
                f"Case {number} in {path} does not fit the model. {error.problem}",
                remedy=f"Give an array for each input, a case a row; the model's inputs are {_described(predictor)}.",
            ) from error
        for name, array in case.items():
            if wrong := int(np.count_nonzero(~np.isfinite(array))) if array.dtype.kind == "f" else 0:
                raise CalibrationError(f"Input {name!r} of case {number} in {path} holds {wrong} that are not numbers.")
    return cases


def run_cases(predictor: Predictor, cases: Sequence[Case], path: Path) -> list[Case]:
    """What the uncompressed model answers to each case.

    Raises:
        CalibrationError: It cannot answer one, or not with numbers.
    """
    answers = []
    for case in cases:
        try:
            answers.append(predictor.run(case))
        except BackendError as error:
            raise CalibrationError(
                f"The model cannot run the cases in {path}. {error.problem}",
                remedy="Check that ids are within the model's tables. Where the first axis of an input is no batch, as "
                "with a graph, give the input one dimension more, or one array a case under NUMBER:NAME.",
            ) from error
        for name, array in answers[-1].items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise CalibrationError(
                    f"On the cases in {path}, the uncompressed model's output {name!r} is not a number.",
                    remedy="Check the cases against what the model was trained on.",
                )
    return answers


def _read(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        # opened here, because numpy leaves a damaged file open
        with path.open("rb") as file, np.load(file, allow_pickle=False) as packed:
            arrays = {name: packed[name] for name in packed.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CalibrationError(f"{path} cannot be read as .npz: {error}.") from error
    if not arrays:
        raise CalibrationError(f"{path} holds no arrays.")
    return arrays


def _rows(arrays: Mapping[str, NDArray[np.generic]], inputs: Sequence[TensorSpec], path: Path) -> list[Case]:
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise CalibrationError(f"The inputs in {path} differ in their number of cases: {lengths}.")
    ranks = {spec.name: len(spec.shape) for spec in inputs}
    whole = {name for name, array in arrays.items() if array.ndim == ranks.get(name, -1) + 1}
    return [
        {name: array[i] if name in whole else array[i : i + 1] for name, array in arrays.items()}
        for i in range(next(iter(lengths.values())))
    ]


def _numbered(arrays: Mapping[str, NDArray[np.generic]]) -> list[Case]:
    cases: dict[int, Case] = {}
    for key, array in arrays.items():
        number, _, name = key.partition(":")
        cases.setdefault(int(number), {})[name] = array
    return [cases[number] for number in sorted(cases)]


def _described(predictor: Predictor) -> str:
    return ", ".join(
        f"{spec.name} ({spec.dtype}, {'x'.join('?' if side is None else str(side) for side in spec.shape)})"
        for spec in predictor.inputs
    )
