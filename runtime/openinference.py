"""KServe Open Inference Protocol v2 over HTTP: ``/v2``, as NVIDIA's ``tritonclient`` and its like call it.

Sources: the KServe "Open Inference Protocol" REST specification; for what is beyond it, Triton's "Model Repository",
"Model Configuration" and "Binary Tensor Data" extensions. ``runtime/tensors.py`` reads and writes the bodies.
A model has one version, "1". Sequences, shared memory, classification and loading models are not offered.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound, RequestEntityTooLarge, UnsupportedMediaType

from devices.errors import BackendError, RequestError
from devices.profile import library_of
from runtime.predictor import Predictor, ShapeRange, TensorSpec
from runtime.shapes import check_size
from runtime.tensors import datatype_name, parse_request, write_response

HEADER_LENGTH = "Inference-Header-Content-Length"
_VERSION = "1"
_PLATFORMS = {"openvino": "openvino", "onnxruntime": "onnxruntime_onnx", "paddle": "paddle_inference"}
# zlib's window bits: 16 more mean gzip's header. "deflate" in HTTP is zlib's format (RFC 9110, 8.4.1.2)
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def create_blueprint(
    predictors: Mapping[str, Predictor], server_version: str, shapes: Mapping[str, Mapping[str, ShapeRange]]
) -> Blueprint:
    """The ``/v2`` routes over ``predictors`` by model name; no input may be larger than ``shapes`` has it."""
    routes = Blueprint("openinference", __name__, url_prefix="/v2")

    def predictor(name: str, version: str) -> Predictor:
        if name not in predictors:
            raise NotFound(f"There is no model {name!r}; the models are {', '.join(sorted(predictors)) or 'none'}.")
        if version != _VERSION:
            raise NotFound(f"Model {name} has no version {version!r}; it has version {_VERSION}.")
        return predictors[name]

    @routes.get("", strict_slashes=False)
    def server() -> Response:
        extensions = ["binary_tensor_data", "model_configuration", "model_repository(index)"]
        return jsonify(name="edgekit", version=server_version, extensions=extensions)

    @routes.get("/health/live")
    def live() -> Response:
        return jsonify(live=True)

    @routes.get("/health/ready")
    def ready() -> Response:
        return jsonify(ready=True)

    @routes.post("/repository/index")
    def index() -> Response:
        entries = [{"name": name, "version": _VERSION, "state": "READY", "reason": ""} for name in sorted(predictors)]
        return jsonify(entries)

    @routes.get("/models/<name>")
    @routes.get("/models/<name>/versions/<version>")
    def metadata(name: str, version: str = _VERSION) -> Response:
        model = predictor(name, version)
        return jsonify(
            name=name,
            versions=[_VERSION],
            platform=_PLATFORMS[library_of(model.backend)],
            inputs=[_describe(spec) for spec in model.inputs],
            outputs=[_describe(spec) for spec in model.outputs],
        )

    @routes.get("/models/<name>/config")
    @routes.get("/models/<name>/versions/<version>/config")
    def config(name: str, version: str = _VERSION) -> Response:
        model = predictor(name, version)
        return jsonify(
            name=name,
            platform=_PLATFORMS[library_of(model.backend)],
            backend=library_of(model.backend),
            max_batch_size=0,  # in Triton's words: shapes are given whole, the batch among them
            input=[_configure(spec) for spec in model.inputs],
            output=[_configure(spec) for spec in model.outputs],
        )

    @routes.get("/models/<name>/ready")
    @routes.get("/models/<name>/versions/<version>/ready")
    def model_ready(name: str, version: str = _VERSION) -> Response:
        predictor(name, version)
        return jsonify(name=name, ready=True)

    @routes.post("/models/<name>/infer")
    @routes.post("/models/<name>/versions/<version>/infer")
    def infer(name: str, version: str = _VERSION) -> Response:
        model = predictor(name, version)
        asked = parse_request(_body(), _json_bytes())
        check_size(name, asked.feeds, shapes.get(name, {}))
        try:
            results = model.run(asked.feeds)
        except BackendError as error:
            # it has answered its golden inputs on this device, so these are what it cannot run
            raise RequestError(f"Model {name} could not run these inputs: {error.problem}") from error
        head, *raw = write_response(name, asked, results)
        if not raw:
            return Response(head, content_type="application/json")
        response = Response(b"".join([head, *raw]), content_type="application/octet-stream")
        response.headers[HEADER_LENGTH] = str(len(head))
        return response

    return routes


def _describe(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "datatype": datatype_name(spec.dtype), "shape": _sides(spec)}


def _configure(spec: TensorSpec) -> dict[str, object]:
    return {"name": spec.name, "data_type": f"TYPE_{datatype_name(spec.dtype)}", "dims": _sides(spec)}


def _sides(spec: TensorSpec) -> list[int]:
    return [-1 if side is None else side for side in spec.shape]


def _json_bytes() -> int | None:
    text = request.headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:  # digits: more than any body has
        raise RequestError(f"Header {HEADER_LENGTH} is {text[:80]!r}, which is not a number of bytes.")
    return int(text)


def _body() -> bytes:
    """The body, decompressed, and never larger than a body may be."""
    body: bytes = request.get_data(cache=False)
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding == "identity":
        return body
    if encoding not in _WINDOW_BITS:
        known = ", ".join(_WINDOW_BITS)
        raise UnsupportedMediaType(f"The body is encoded as {encoding[:80]!r}; known are {known}.")
    limit = request.max_content_length
    assert limit is not None  # create_app sets it
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        inflated = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(f"The body is not {encoding}: {error}.") from error
    if len(inflated) > limit:
        raise RequestEntityTooLarge(f"The body is larger than {limit:,} bytes when it is decompressed.")
    if not inflater.eof or inflater.unused_data:
        raise RequestError(f"The body is cut short, or more follows its {encoding} data.")
    return inflated
