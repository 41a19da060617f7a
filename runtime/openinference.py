"""KServe Open Inference Protocol v2 over HTTP: JSON tensors and the binary tensor extension.

Source: the KServe "Open Inference Protocol" REST specification and its "Binary Tensor Data" extension.
With the extension a body is JSON followed by raw little-endian tensors; the header
``Inference-Header-Content-Length`` says where the JSON ends.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from flask import Blueprint, Response, jsonify, request
from numpy.typing import NDArray
from werkzeug.exceptions import NotFound

from devices.errors import RequestError
from runtime.predictor import Predictor, TensorSpec

_HEADER_LENGTH = "Inference-Header-Content-Length"
_DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
}
_NAMES = {dtype: datatype for datatype, dtype in _DATATYPES.items()}
_PLATFORMS = {"openvino": "openvino", "onnxruntime": "onnxruntime_onnx", "paddle": "paddle_inference"}


def create_blueprint(predictors: Mapping[str, Predictor], server_version: str) -> Blueprint:
    """The ``/v2`` routes over ``predictors`` by model name."""
    routes = Blueprint("openinference", __name__, url_prefix="/v2")

    def predictor(name: str) -> Predictor:
        if name not in predictors:
            raise NotFound
        return predictors[name]

    @routes.get("", strict_slashes=False)
    def server() -> Response:
        return jsonify(name="edgekit", version=server_version, extensions=["binary_tensor_data"])

    @routes.get("/health/live")
    def live() -> Response:
        return jsonify(live=True)

    @routes.get("/health/ready")
    def ready() -> Response:
        return jsonify(ready=True)

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/1")
    def metadata(name: str) -> Response:
        model = predictor(name)
        return jsonify(
            name=name,
            versions=["1"],
            platform=_PLATFORMS[model.backend],
            inputs=[_describe(spec) for spec in model.inputs],
            outputs=[_describe(spec) for spec in model.outputs],
        )

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/1/ready")
    def model_ready(name: str) -> Response:
        predictor(name)
        return jsonify(name=name, ready=True)

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/1/infer")
    def infer(name: str) -> Response:
        model = predictor(name)
        document, binary = _split(request.get_data())
        feeds = _feeds(document, binary)
        return _answer(model, document, model.run(feeds))

    return routes


def _describe(spec: TensorSpec) -> dict[str, object]:
    shape = [-1 if side is None else side for side in spec.shape]
    return {"name": spec.name, "datatype": _NAMES.get(spec.dtype, spec.dtype.upper()), "shape": shape}


def _split(body: bytes) -> tuple[dict[str, Any], memoryview]:
    length_text = request.headers.get(_HEADER_LENGTH)
    try:
        length = len(body) if length_text is None else int(length_text)
    except ValueError as error:
        raise RequestError(f"Header {_HEADER_LENGTH} is {length_text!r}, which is not a number.") from error
    if not 0 <= length <= len(body):
        raise RequestError(f"Header {_HEADER_LENGTH} says {length} bytes, the body has {len(body)}.")
    try:
        document = json.loads(body[:length])
    except ValueError as error:
        raise RequestError(f"The body is not JSON: {error}.") from error
    if not isinstance(document, dict) or not isinstance(document.get("inputs"), list):
        raise RequestError("The body has no list 'inputs'.")
    return document, memoryview(body)[length:]


def _feeds(document: dict[str, Any], binary: memoryview) -> dict[str, NDArray[np.generic]]:
    feeds: dict[str, NDArray[np.generic]] = {}
    offset = 0
    for tensor in document["inputs"]:
        name, shape, dtype = _header(tensor)
        if name in feeds:
            raise RequestError(f"Input {name!r} is given twice.")
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        if size is None:
            feeds[name] = _from_json(name, tensor.get("data"), shape, dtype)
            continue
        expected = math.prod(shape) * dtype.itemsize
        if size != expected or offset + size > len(binary):
            raise RequestError(
                f"Input {name!r} of shape {shape} and type {dtype} needs {expected} bytes; "
                f"binary_data_size is {size} and {len(binary) - offset} bytes are left in the body."
            )
        feeds[name] = np.frombuffer(binary[offset : offset + size], dtype.newbyteorder("<")).reshape(shape)
        offset += size
    if offset != len(binary):
        raise RequestError(f"{len(binary) - offset} bytes after the last tensor belong to no input.")
    return feeds


def _header(tensor: Any) -> tuple[str, list[int], np.dtype[Any]]:
    if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
        raise RequestError("Each of 'inputs' must be an object with a 'name'.")
    name, shape, datatype = tensor["name"], tensor.get("shape"), tensor.get("datatype")
    if not isinstance(shape, list) or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise RequestError(f"Input {name!r} has shape {shape!r}; expected a list of sizes.")
    if datatype not in _DATATYPES:
        raise RequestError(f"Input {name!r} has datatype {datatype!r}; known are {', '.join(_DATATYPES)}.")
    return name, shape, np.dtype(_DATATYPES[datatype])


def _from_json(name: str, data: Any, shape: list[int], dtype: np.dtype[Any]) -> NDArray[np.generic]:
    # numpy would turn null into NaN, "1" into 1 and 1.5 into 1; a caller who sends those made a mistake
    try:
        given = np.asarray(data)
        if given.dtype.kind not in "biuf":
            raise ValueError("expected a list of numbers")
        array = given.astype(dtype)
        if dtype.kind != "f" and not np.array_equal(array, given):
            raise ValueError("a number is out of range or not whole")
    except ValueError as error:
        raise RequestError(f"Input {name!r} holds values that are no {dtype}: {error}.") from error
    if array.size != math.prod(shape):
        raise RequestError(f"Input {name!r} has {array.size} values; its shape {shape} needs {math.prod(shape)}.")
    return array.reshape(shape)


def _answer(model: Predictor, document: dict[str, Any], results: dict[str, NDArray[np.generic]]) -> Response:
    wanted = document.get("outputs") or [{"name": spec.name} for spec in model.outputs]
    all_binary = bool((document.get("parameters") or {}).get("binary_data_output"))
    described, chunks = [], []
    for output in wanted:
        name = output.get("name") if isinstance(output, dict) else None
        if name not in results:
            raise RequestError(f"Model {model.name} has no output {name!r}; its outputs are {sorted(results)}.")
        array = results[name]
        entry: dict[str, Any] = {
            "name": name,
            "datatype": _NAMES[array.dtype.name],
            "shape": list(array.shape),
        }
        if (output.get("parameters") or {}).get("binary_data", all_binary):
            raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            entry["parameters"] = {"binary_data_size": len(raw)}
            chunks.append(raw)
        else:
            entry["data"] = _json_values(name, array)
        described.append(entry)
    answer: dict[str, Any] = {"model_name": model.name, "model_version": "1", "outputs": described}
    if "id" in document:
        answer["id"] = document["id"]
    head = json.dumps(answer).encode()
    if not chunks:
        return Response(head, content_type="application/json")
    response = Response(head + b"".join(chunks), content_type="application/octet-stream")
    response.headers[_HEADER_LENGTH] = str(len(head))
    return response


def _json_values(name: str, array: NDArray[np.generic]) -> list[Any]:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(
            f"Output {name!r} holds NaN or infinity, which JSON cannot carry; an input probably did.",
            remedy="Check the input values, or ask for binary output.",
        )
    values: list[Any] = array.ravel().tolist()
    return values
