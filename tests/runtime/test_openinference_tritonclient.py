"""Protocol v2 as a client that nobody here wrote understands it: NVIDIA's tritonclient against a server on loopback."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import threading
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from runtime.app import MAX_BODY_BYTES, Services, create_app
from runtime.predictor import ModelFiles, Predictor, RunOptions, TensorSpec, check_feeds, load_predictor
from runtime.server import Server
from runtime.tensors import DATATYPES

VALUES: dict[str, list[Any]] = {
    "BOOL": [True, False, True],
    "FP16": [0.5, -65504.0, 6e-5],
    "FP32": [0.1, -3.4e38, 1e-40],
    "FP64": [0.1, -1.7e308, 5e-324],
}


def values(datatype: str) -> NDArray[np.generic]:
    """Three values of a type, its extremes among them."""
    dtype = np.dtype(DATATYPES[datatype])
    if datatype in VALUES:
        return np.array([VALUES[datatype]], dtype)
    limits = np.iinfo(dtype)
    return np.array([[limits.min, limits.max, 7]], dtype)


class Echo:
    """Gives every input back: one of each number type of the protocol."""

    name, backend, precision, sha256 = "echo", "onnxruntime:cuda", "fp32", "0" * 64
    inputs = tuple(TensorSpec(datatype, dtype, (None, 3)) for datatype, dtype in DATATYPES.items())
    outputs = tuple(TensorSpec(f"{datatype}_out", dtype, (None, 3)) for datatype, dtype in DATATYPES.items())

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        checked = check_feeds(self.name, self.inputs, feeds)
        assert all(array.flags.aligned and array.flags.c_contiguous for array in checked.values())
        return {f"{name}_out": array for name, array in checked.items()}


def adder() -> Predictor:
    """sum = left + right, both (N, 3), and row, the sum of each row; a real model in a real backend."""
    nodes = [
        helper.make_node("Add", ["left", "right"], ["sum"]),
        helper.make_node("ReduceSum", ["sum", "one"], ["row"], keepdims=0),
    ]
    specs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("left", "right", "sum")]
    row = helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n"])
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "adder", specs[:2], [specs[2], row], [one])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return load_predictor(ModelFiles("adder", "onnx", model.SerializeToString()), "onnxruntime", RunOptions(threads=1))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    nothing: Any = None
    models: dict[str, Any] = {"adder": adder(), "echo": Echo()}
    app = create_app(Services("1.2.3", models, nothing, nothing, nothing, dict))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = Server(app, [listener], threads=4)
    thread = threading.Thread(target=server.run, args=[lambda: None])
    thread.start()
    yield f"127.0.0.1:{port}"
    server.stop()
    thread.join(15)
    assert not thread.is_alive()


@pytest.fixture
def client(address: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(address, network_timeout=10.0) as made:
        yield made


def tensor(name: str, array: NDArray[np.generic], *, raw: bool = True) -> InferInput:
    made = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array, binary_data=raw)


LEFT = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
RIGHT = np.array([[10, 20, 30], [40, 50, 60]], np.float32)


def both(*, raw: bool = True) -> list[InferInput]:
    return [tensor("left", LEFT, raw=raw), tensor("right", RIGHT, raw=raw)]


def test_server_and_models_introduce_themselves(client: InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata()["name"] == "edgekit"
    assert client.is_model_ready("adder")
    assert client.is_model_ready("adder", "1")
    assert not client.is_model_ready("adder", "2")
    assert not client.is_model_ready("none")
    index = client.get_model_repository_index()
    assert [(each["name"], each["state"]) for each in index] == [("adder", "READY"), ("echo", "READY")]


@pytest.mark.parametrize("version", ["", "1"])
def test_a_model_is_described_and_configured(client: InferenceServerClient, version: str) -> None:
    described = client.get_model_metadata("adder", version)
    assert described["versions"] == ["1"]
    assert described["platform"] == "onnxruntime_onnx"
    assert described["inputs"][0] == {"name": "left", "datatype": "FP32", "shape": [-1, 3]}
    assert [each["name"] for each in described["outputs"]] == ["sum", "row"]
    config = client.get_model_config("adder", version)
    assert config["backend"] == "onnxruntime"
    assert config["output"][1] == {"name": "row", "data_type": "TYPE_FP32", "dims": [-1]}
    assert client.get_model_config("echo")["backend"] == "onnxruntime"


@pytest.mark.parametrize("raw_out", [True, False])
@pytest.mark.parametrize("raw_in", [True, False])
@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_number_type_survives_both_ways_in_json_and_raw(
    client: InferenceServerClient, datatype: str, *, raw_in: bool, raw_out: bool
) -> None:
    inputs = [tensor(name, values(name), raw=raw_in if name == datatype else True) for name in DATATYPES]
    wanted = [InferRequestedOutput(f"{datatype}_out", binary_data=raw_out)]
    answer = client.infer("echo", inputs, outputs=wanted)
    got = answer.as_numpy(f"{datatype}_out")
    assert got.dtype == values(datatype).dtype
    np.testing.assert_array_equal(got, values(datatype))
    assert [each["name"] for each in answer.get_response()["outputs"]] == [f"{datatype}_out"]


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_a_real_model_answers_json_raw_and_compressed(client: InferenceServerClient, compression: str | None) -> None:
    for raw in (True, False):
        answer = client.infer(
            "adder",
            both(raw=raw),
            request_id="a-7",
            request_compression_algorithm=compression,
            response_compression_algorithm=compression,
        )
        np.testing.assert_array_equal(answer.as_numpy("sum"), LEFT + RIGHT)
        np.testing.assert_array_equal(answer.as_numpy("row"), (LEFT + RIGHT).sum(axis=1))
        assert answer.get_response()["id"] == "a-7"
        assert answer.get_response()["model_name"] == "adder"


def test_json_and_raw_mix_in_one_request_and_in_one_answer(client: InferenceServerClient) -> None:
    inputs = [tensor("left", LEFT, raw=False), tensor("right", RIGHT, raw=True)]
    outputs = [InferRequestedOutput("row", binary_data=False), InferRequestedOutput("sum", binary_data=True)]
    answer = client.infer("adder", inputs, model_version="1", outputs=outputs)
    np.testing.assert_array_equal(answer.as_numpy("sum"), LEFT + RIGHT)
    np.testing.assert_array_equal(answer.as_numpy("row"), (LEFT + RIGHT).sum(axis=1))
    assert "data" in answer.get_output("row")
    assert "data" not in answer.get_output("sum")


def test_asynchronous_requests_get_their_own_answers(address: str) -> None:
    with InferenceServerClient(address, concurrency=4, network_timeout=10.0) as client:
        pending = []
        for number in range(12):
            inputs = [tensor("left", np.full((1, 3), number, np.float32)), tensor("right", np.zeros((1, 3), "f4"))]
            pending.append(client.async_infer("adder", inputs))
        for number, each in enumerate(pending):
            np.testing.assert_array_equal(each.get_result().as_numpy("sum"), np.full((1, 3), number, np.float32))


def test_parameters_that_mean_nothing_here_are_passed_over(client: InferenceServerClient) -> None:
    answer = client.infer("adder", both(), priority=3, timeout=5_000_000, parameters={"caller": "kiosk"})
    np.testing.assert_array_equal(answer.as_numpy("sum"), LEFT + RIGHT)


def refused(client: InferenceServerClient, model: str = "adder", **call: Any) -> str:
    arguments = {"inputs": both()} | call
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, **arguments)
    assert caught.value.status() in ("400", "404")
    assert client.infer("adder", both()).as_numpy("row") is not None
    return str(caught.value.message())


def shared_memory(what: Any) -> Any:
    what.set_shared_memory("region", 24)
    return what


def test_what_is_not_offered_is_refused_in_words_that_the_client_shows(client: InferenceServerClient) -> None:
    assert "sequence_id" in refused(client, sequence_id=5, sequence_start=True)
    assert "classification" in refused(client, outputs=[InferRequestedOutput("sum", class_count=2)])
    assert "shared memory" in refused(client, outputs=[shared_memory(InferRequestedOutput("sum"))])
    inputs = [shared_memory(InferInput("left", [2, 3], "FP32")), tensor("right", RIGHT)]
    assert "shared memory" in refused(client, inputs=inputs)
    strings = np.array([["a", "b", "c"]], np.object_)
    for raw in (True, False):
        inputs = [tensor("left", strings, raw=raw), tensor("right", RIGHT)]
        assert "'BYTES', which no model here takes" in refused(client, inputs=inputs)
    half = InferInput("left", [2, 3], "BF16")
    half._raw_data = bytes(12)
    half._parameters["binary_data_size"] = 12
    assert "'BF16', which no model here takes" in refused(client, inputs=[half, tensor("right", RIGHT)])


def test_wrong_tensors_are_refused_by_name(client: InferenceServerClient) -> None:
    assert "no input 'middle'" in refused(client, inputs=[*both(), tensor("middle", LEFT)])
    assert "needs input 'right'" in refused(client, inputs=both()[:1])
    assert "'left' is given twice" in refused(client, inputs=[*both(), tensor("left", LEFT)])
    assert "is float64; expected float32" in refused(client, inputs=[tensor("left", LEFT.astype("f8")), both()[1]])
    assert "expected ?x3" in refused(client, inputs=[tensor("left", LEFT[:, :2]), both()[1]])
    assert "'left' of adder is empty" in refused(client, inputs=[tensor("left", LEFT[:0]), both()[1]])
    assert "could not run these inputs" in refused(client, inputs=[tensor("left", np.tile(LEFT, (3, 1))), both()[1]])
    assert "no output 'z'" in refused(client, outputs=[InferRequestedOutput("z")])
    twice = [InferRequestedOutput("sum"), InferRequestedOutput("sum")]
    assert "asked for twice" in refused(client, outputs=twice)
    nan = tensor("left", np.full((2, 3), np.nan, np.float32))
    as_json = [InferRequestedOutput("sum", binary_data=False)]
    assert "NaN" in refused(client, inputs=[nan, both()[1]], outputs=as_json)
    assert np.isnan(client.infer("adder", [nan, both()[1]]).as_numpy("sum")).all()


def test_models_and_paths_that_do_not_exist_are_named(client: InferenceServerClient) -> None:
    assert refused(client, "none") == "There is no model 'none'; the models are adder, echo."
    assert "no version '2'" in refused(client, model_version="2")
    for call in (client.get_trace_settings, client.get_system_shared_memory_status, client.get_log_settings):
        with pytest.raises(InferenceServerException, match="There is nothing at /v2/"):
            call()
    with pytest.raises(InferenceServerException, match="There is nothing at /v2/repository/models/adder/load"):
        client.load_model("adder")


def post(address: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    """A body as no proper client would send it."""
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", "/v2/models/adder/infer", body, named)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


WHOLE = json.dumps(
    {"inputs": [{"name": name, "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]} for name in ("left", "right")]}
).encode()


def test_a_small_body_that_inflates_beyond_the_limit_is_refused(address: str) -> None:
    for packed, encoding in (
        (gzip.compress(bytes(MAX_BODY_BYTES + 1), 9), "gzip"),
        (zlib.compress(bytes(MAX_BODY_BYTES + 1), 9), "deflate"),
    ):
        assert len(packed) < MAX_BODY_BYTES / 500
        status, document = post(address, packed, Content_Encoding=encoding)
        assert status == 413
        assert "when it is decompressed" in document["problem"]
    assert post(address, WHOLE)[0] == 200


def test_damaged_and_unknown_encodings_are_refused(address: str) -> None:
    packed = gzip.compress(WHOLE)
    assert post(address, packed, Content_Encoding="gzip")[0] == 200
    assert post(address, packed, Content_Encoding="GZIP")[0] == 200
    assert post(address, WHOLE, Content_Encoding="identity")[0] == 200
    for body in (packed[:-9], packed + b"x", WHOLE, b"", packed + packed):
        status, document = post(address, body, Content_Encoding="gzip")
        assert (status, document["code"]) == (400, "REQ-001")
    for encoding in ("br", "gzip, gzip", "x" * 1000):
        status, document = post(address, WHOLE, Content_Encoding=encoding)
        assert status == 415
        assert "known are gzip, deflate" in document["problem"]


@pytest.mark.parametrize(
    ("header", "said"),
    [("-1", "not a number"), ("x", "not a number"), ("1_0", "not a number"), ("9" * 40, "not a number")]
    + [("999999", "says 999999 bytes"), ("0", "not JSON"), ("5", "not JSON")],
)
def test_a_wrong_length_of_the_json_is_refused(address: str, header: str, said: str) -> None:
    status, document = post(address, WHOLE, Inference_Header_Content_Length=header)
    assert status == 400
    assert said in document["problem"]


def changed(**changes: Any) -> bytes:
    document = json.loads(WHOLE)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = document
        for step in way:
            place = place[int(step) if step.isdecimal() else step]
        place[int(last) if last.isdecimal() else last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"inputs": ' + b"[" * 100_000]
    + [changed(**{path: value}) for path in ("inputs", "outputs") for value in (5, "x", {"a": 1}, [5], [[]], [{}])]
    + [changed(id=value) for value in (5, {}, [])]
    + [changed(parameters=value) for value in (5, "x", [1], {"binary_data_output": "yes"})]
    + [changed(inputs__0__parameters=value) for value in (5, [1], {"binary_data_size": "x"})]
    + [changed(inputs__0__parameters={"binary_data_size": value}) for value in (12.0, True, -12, None, 12, 1 << 70)]
    + [changed(inputs__0__name=value) for value in (5, None, {}, "\ud800")]
    + [changed(inputs__0__datatype=value) for value in (5, None, [], {}, "fp32", "")]
    + [changed(inputs__0__shape=value) for value in (5, None, [1.0, 3], [True, 3], [-1, 3], [1 << 70, 3], "13", [])]
    + [changed(inputs__0__data=value) for value in (5, None, {}, "123", [1, [2], 3], ["1", "2", "3"], [1e39, 1, 1])]
    + [changed(inputs__0__data=[1 << 200, 1, 1]), changed(outputs=[{"name": "sum", "parameters": 5}])]
    + [changed(outputs=[{"name": "sum", "parameters": {"binary_data": 1}}]), changed(outputs=[{"name": 5}])],
)  # fmt: skip
def test_whatever_is_in_the_json_the_answer_is_a_problem(address: str, body: bytes) -> None:
    if body == changed(inputs__0__parameters={"binary_data_size": None}):
        assert post(address, body)[0] == 200
        return
    status, document = post(address, body)
    assert (status, document["code"]) == (400, "REQ-001")
    assert document["problem"].endswith(".")


def post_raw(address: str, model: str, head: dict[str, Any], raw: bytes) -> str:
    """The problem with a request of JSON and raw bytes; empty where there is none."""
    text = json.dumps(head).encode()
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        length = {"Inference-Header-Content-Length": str(len(text))}
        connection.request("POST", f"/v2/models/{model}/infer", text + raw, length)
        answer = connection.getresponse()
        document = json.loads(answer.read())
        assert answer.status in (200, 400)
        return str(document.get("problem", ""))
    finally:
        connection.close()


def test_a_bool_is_zero_or_one(address: str) -> None:
    tensor = {"name": "BOOL", "shape": [1, 3], "datatype": "BOOL", "parameters": {"binary_data_size": 3}}
    for raw, expected in ((b"\x00\x01\x01", "needs input"), (b"\x00\x02\x01", "no BOOL")):
        assert expected in post_raw(address, "echo", {"inputs": [tensor]}, raw)


@pytest.mark.parametrize(
    ("size", "extra", "said"),
    [(12, 0, ""), (12, 1, "1 bytes after the last tensor"), (12, -1, "23 bytes are left"), (12.0, 0, "is 12.0")]
    + [(True, 0, "is True"), (0, 0, "needs 12 bytes"), ("12", 0, "is '12'")],
)
def test_raw_tensors_fill_the_body_exactly(address: str, size: Any, extra: int, said: str) -> None:
    inputs = [
        {"name": "left", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}},
        {"name": "right", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}},
    ]
    if extra < 0:
        inputs = [inputs[0] | {"shape": [1, 6], "parameters": {"binary_data_size": 24}}]
    document = {"inputs": inputs, "outputs": [{"name": "sum"}]}
    problem = post_raw(address, "adder", document, bytes(24 + extra))
    assert said in problem
    assert bool(said) == bool(problem)


def test_a_number_beyond_its_type_is_refused_not_made_infinite(address: str) -> None:
    assert "out of range" in post(address, changed(inputs__0__data=[1e39, 1, 1]))[1]["problem"]
