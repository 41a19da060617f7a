"""Tensors on the wire, as KServe's Open Inference Protocol v2 writes them: in JSON, or raw behind it.

Source: the "Open Inference Protocol" REST specification of KServe and its "Binary Tensor Data" extension. With the
extension a body is JSON followed by raw little-endian tensors, in the order in which the JSON names them.
Everything here is pure: bytes in, arrays out, and back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.errors import RequestError

Arrays = dict[str, NDArray[np.generic]]

# BF16 and BYTES are the protocol's too, but numpy has no BF16 and no model here takes strings
DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
_NAMES = {dtype: datatype for datatype, dtype in DATATYPES.items()}

_LONGEST_NAME = 256  # characters; names are repeated in answers


@dataclass(frozen=True)
class InferenceRequest:
    """One request for a model.

    Attributes:
        id: Given by the caller, to be repeated in the answer; None where there is none.
        feeds: Inputs by name.
        outputs: Names of the outputs asked for, and whether each is wanted raw; None asks for all.
        all_raw: Whether outputs are wanted raw where ``outputs`` does not say.
    """

    id: str | None
    feeds: Arrays
    outputs: dict[str, bool] | None
    all_raw: bool


def datatype_name(dtype: str) -> str:
    """The protocol's name of a numpy dtype."""
    return _NAMES.get(dtype, dtype.upper())


def parse_request(body: bytes, json_bytes: int | None) -> InferenceRequest:
    """Read a request's body.

    Args:
        body: As sent, decompressed.
        json_bytes: Length of the JSON at its beginning; None where all of it is JSON.

    Raises:
        RequestError: It is not of the protocol's form, or asks for something that is not offered; the message says
            which member.
    """
    length = len(body) if json_bytes is None else json_bytes
    if length > len(body):
        raise RequestError(f"The header says {length} bytes of JSON; the body has {len(body)}.")
    try:
        document = json.loads(body[:length])
    except RecursionError as error:
        raise RequestError("The body is JSON of too many levels.") from error
    except ValueError as error:
        raise RequestError(f"The body is not JSON: {error}.") from error
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise RequestError("The body has no list 'inputs'.")
    id_ = document.get("id")
    if id_ is not None and not isinstance(id_, str):
        raise RequestError(f"'id' is {id_!r}; expected a string.")
    parameters = _parameters("The request", document)
    if parameters.get("sequence_id"):
        raise RequestError("The request is part of a sequence (sequence_id); the models keep nothing between requests.")
    all_raw = _flag("The request", parameters, "binary_data_output", default=False)
    feeds = _feeds(document["inputs"], memoryview(body)[length:])
    return InferenceRequest(id_, feeds, _outputs(document.get("outputs"), all_raw), all_raw)


def write_response(model: str, request: InferenceRequest, results: Mapping[str, NDArray[np.generic]]) -> list[bytes]:
    """The answer to ``request``: JSON, and behind it the outputs that are wanted raw.

    Args:
        model: Its name.
        request: What was asked.
        results: Every output of the model, in its order.

    Raises:
        RequestError: An output is not among them, or holds NaN and is wanted in JSON.
    """
    described, raw = [], []
    for name, wants_raw in (request.outputs or dict.fromkeys(results, request.all_raw)).items():
        if name not in results:
            raise RequestError(f"Model {model} has no output {name!r}; its outputs are {sorted(results)}.")
        array = results[name]
        entry: dict[str, Any] = {"name": name, "datatype": datatype_name(array.dtype.name), "shape": list(array.shape)}
        if wants_raw:
            data = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()
            entry["parameters"] = {"binary_data_size": len(data)}
            raw.append(data)
        else:
            entry["data"] = _json_values(name, array)
        described.append(entry)
    answer: dict[str, Any] = {"model_name": model, "model_version": "1", "outputs": described}
    if request.id is not None:
        answer["id"] = request.id
    return [json.dumps(answer).encode(), *raw]


def _parameters(what: str, holder: Mapping[str, Any]) -> dict[str, Any]:
    """Unknown parameters mean something to other servers and are passed over, as the protocol has it."""
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError(f"{what} has 'parameters' that are no object.")
    if "shared_memory_region" in parameters:
        raise RequestError(f"{what} names a region of shared memory; tensors are sent in the body here.")
    return parameters


def _flag(what: str, parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"{what} has {name} {value!r}; expected true or false.")
    return value


def _is_named(tensor: Any) -> bool:
    name = tensor.get("name") if isinstance(tensor, dict) else None
    return isinstance(name, str) and len(name) <= _LONGEST_NAME


def _outputs(outputs: Any, all_raw: bool) -> dict[str, bool] | None:
    if not outputs and isinstance(outputs, list | None):
        return None
    if not isinstance(outputs, list):
        raise RequestError("'outputs' is not a list.")
    wanted: dict[str, bool] = {}
    for output in outputs:
        if not _is_named(output):
            raise RequestError(
                f"Each of 'outputs' must be an object with a 'name' of at most {_LONGEST_NAME} characters."
            )
        what = f"Output {output['name']!r}"
        if output["name"] in wanted:
            raise RequestError(f"{what} is asked for twice.")
        parameters = _parameters(what, output)
        if parameters.get("classification"):
            raise RequestError(f"{what} is wanted as a classification; only its values are offered.")
        wanted[output["name"]] = _flag(what, parameters, "binary_data", default=all_raw)
    return wanted


def _feeds(inputs: list[Any], raw: memoryview) -> Arrays:
    feeds: Arrays = {}
    offset = 0
    for tensor in inputs:
        name, shape, dtype = _header(tensor)
        what = f"Input {name!r}"
        if name in feeds:
            raise RequestError(f"{what} is given twice.")
        size = _parameters(what, tensor).get("binary_data_size")
        if size is None:
            feeds[name] = _from_json(what, tensor.get("data"), shape, dtype)
            continue
        expected = math.prod(shape) * dtype.itemsize
        if type(size) is not int or size != expected or offset + size > len(raw):
            raise RequestError(
                f"{what} of shape {shape} and type {dtype} needs {expected} bytes; "
                f"binary_data_size is {size!r} and {len(raw) - offset} bytes are left in the body."
            )
        feeds[name] = _from_raw(what, raw[offset : offset + size], shape, dtype)
        offset += size
    if offset != len(raw):
        raise RequestError(f"{len(raw) - offset} bytes after the last tensor belong to no input.")
    return feeds


def _header(tensor: Any) -> tuple[str, list[int], np.dtype[Any]]:
    if not _is_named(tensor):
        raise RequestError(f"Each of 'inputs' must be an object with a 'name' of at most {_LONGEST_NAME} characters.")
    name, shape, datatype = tensor["name"], tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise RequestError(f"Input {name!r} has shape {shape!r}; expected a list of sizes.")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise RequestError(
            f"Input {name!r} has datatype {datatype!r}, which no model here takes; known are {', '.join(DATATYPES)}."
        )
    return name, shape, np.dtype(DATATYPES[datatype])


def _from_raw(what: str, data: memoryview, shape: list[int], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    if dtype.kind == "b" and data.nbytes and np.frombuffer(data, np.uint8).max() > 1:
        raise RequestError(f"{what} holds bytes that are no BOOL: only 0 and 1 are.")
    array = np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape)
    # JSON of any length stands before it, so it may start anywhere; backends read whole numbers at their own places
    return np.require(array, dtype, ["C", "A"])


def _from_json(what: str, data: Any, shape: list[int], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    # numpy would turn null into NaN, "1" into 1, 1.5 into 1 and 1e300 into infinity; a caller who sends those made
    # a mistake
    try:
        given = np.asarray(data)
        if not isinstance(data, list) or (given.dtype.kind not in "biuf" and given.size):
            raise ValueError("expected a list of numbers")
        if dtype.kind in "iu" and given.dtype.kind == "f":  # numpy's choice for large whole numbers, rounded
            given = np.asarray(data, object)
        with np.errstate(over="ignore", invalid="ignore"):
            array = given.astype(dtype)
        kept = np.isfinite(given) == np.isfinite(array) if dtype.kind == "f" else given == array
        if not np.all(kept):
            raise ValueError("a number is out of range or not whole")
    except (ValueError, OverflowError) as error:
        raise RequestError(f"{what} holds values that are no {dtype}: {error}.") from error
    if array.size != math.prod(shape):
        raise RequestError(f"{what} has {array.size} values; its shape {shape} needs {math.prod(shape)}.")
    return array.reshape(shape)


def _json_values(name: str, array: NDArray[np.generic]) -> list[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(
            f"Output {name!r} holds NaN or infinity, which JSON cannot carry; an input probably did.",
            remedy="Check the input values, or ask for binary output.",
        )
    values: list[Any] = array.ravel().tolist()
    return values
