"""A Paddle model whose files are cut short or mixed up is refused by name; the files are written here."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from devices.errors import ModelError
from runtime.paddle_files import check_paddle_files
from runtime.predictor import model_files

FLOAT32, INT8, INT64 = 5, 21, 3
SIZES = {FLOAT32: 4, INT8: 1, INT64: 8}
# by name, as a program might list them: not sorted, as the file of weights is
PARAMETERS = {"w_1": (FLOAT32, (3, 4)), "b_0": (FLOAT32, (4,)), "table": (INT64, (2, 2))}


def varint(value: int) -> bytes:
    value, out = value % (1 << 64), b""
    while value > 0x7F:
        value, out = value >> 7, out + bytes([value & 0x7F | 0x80])
    return out + bytes([value])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor_desc(kind: int, shape: tuple[int, ...]) -> bytes:
    return field(1, kind) + b"".join(field(2, side) for side in shape)


def record(kind: int, shape: tuple[int, ...], *, lod: tuple[bytes, ...] = ()) -> bytes:
    description, count = tensor_desc(kind, shape), 1
    for side in shape:
        count *= side
    levels = struct.pack("<Q", len(lod)) + b"".join(struct.pack("<Q", len(level)) + level for level in lod)
    head = struct.pack("<I", 0) + levels + struct.pack("<Ii", 0, len(description))
    return head + description + bytes(count * SIZES[kind])


def weights(parameters: dict[str, tuple[int, tuple[int, ...]]]) -> bytes:
    return b"".join(record(*parameters[name]) for name in sorted(parameters))


def variable(name: str, kind: int, shape: tuple[int, ...], *, persistable: int = 1, holds: int = 7) -> bytes:
    tensor = field(1, tensor_desc(kind, shape))
    return field(1, name.encode()) + field(2, field(1, holds) + field(3, tensor)) + field(3, persistable)


def program(parameters: dict[str, tuple[int, tuple[int, ...]]]) -> bytes:
    variables = [variable(name, *each) for name, each in parameters.items()]
    variables.append(variable("x", FLOAT32, (-1, 3), persistable=0))
    variables.append(variable("feed", FLOAT32, (), holds=9))
    block = field(1, 0) + field(2, -1) + b"".join(field(3, each) for each in variables) + field(4, b"\x1a\x04relu")
    return field(1, block) + field(4, field(1, 0)) + field(5, b"")


def pir_program(parameters: dict[str, tuple[int, tuple[int, ...]]]) -> bytes:
    names = {FLOAT32: "0.t_f32", INT8: "0.t_i8", INT64: "0.t_i64"}
    operations = [
        {"#": "p", "A": [0, 1, 1, name], "O": {"%": 1, "TT": {"#": "0.t_dtensor", "D": [{"#": names[kind]}, [*shape]]}}}
        for name, (kind, shape) in parameters.items()
    ]
    operations.append({"#": "1.data", "A": [], "O": []})
    return json.dumps({"base_code": {}, "program": {"regions": [{"blocks": [{"ops": operations}]}]}}).encode()


GRAPHS = {"inference.pdmodel": program, "inference.json": pir_program}
both = pytest.mark.parametrize("name", GRAPHS)


def check(graph: bytes, data: bytes, name: str = "inference.pdmodel"):
    return check_paddle_files(graph, data, pir=name.endswith("json"), origin="DIR")


@both
def test_a_whole_model_gives_its_parameters_by_name_with_the_place_of_their_values(name: str):
    data = weights(PARAMETERS)
    found = check(GRAPHS[name](PARAMETERS), data, name)
    assert [(each, str(value)) for each, value in found.items()] == [
        ("b_0", "float32 4"),
        ("table", "int64 2x2"),
        ("w_1", "float32 3x4"),
    ]
    assert [value.end - value.start for value in found.values()] == [16, 32, 48]
    assert found["w_1"].end == len(data)


@both
def test_weights_cut_at_any_byte_are_refused(name: str):
    graph, data = GRAPHS[name](PARAMETERS), weights(PARAMETERS)
    for kept in range(len(data)):
        with pytest.raises(ModelError, match=r"inference\.pdiparams .*not whole"):
            check(graph, data[:kept], name)


@both
def test_a_graph_cut_at_any_byte_is_refused(name: str):
    graph, data = GRAPHS[name](PARAMETERS), weights(PARAMETERS)
    # what follows a program's version is its list of operator versions, which may be missing
    end = len(graph) - len(field(5, b"")) if name == "inference.pdmodel" else len(graph)
    for kept in range(end):
        with pytest.raises(ModelError, match=f"{name} is"):
            check(graph[:kept], data, name)


@both
@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (PARAMETERS | {"table": (INT64, (2, 3))}, "'table' is declared as int64 2x2, but int64 2x3 is stored"),
        (PARAMETERS | {"b_0": (INT64, (4,))}, "'b_0' is declared as float32 4, but int64 4 is stored"),
        (PARAMETERS | {"z": (FLOAT32, (4,))}, "3 parameters are declared, 4 are stored"),
        ({"b_0": PARAMETERS["b_0"]}, r"3 parameters are declared \(from 'table' on they are missing\), 1 are stored"),
    ],
)
def test_weights_of_another_model_are_refused_by_parameter(name: str, stored, message: str):
    with pytest.raises(ModelError, match=message) as caught:
        check(GRAPHS[name](PARAMETERS), weights(stored), name)
    assert f"does not belong to {name}" in caught.value.problem
    assert "both from the same place" in caught.value.remedy


def test_what_paddleslim_and_older_programs_declare_otherwise_is_allowed():
    declared = {"w": (FLOAT32, (3, 4)), "scale": (FLOAT32, (3,)), "one": (FLOAT32, (1,)), "free": (FLOAT32, (-1, 4))}
    stored = {"w": (INT8, (3, 4)), "scale": (FLOAT32, (1, 3)), "one": (FLOAT32, ()), "free": (FLOAT32, (9, 4))}
    assert len(check(program(declared), weights(stored))) == 4


def test_levels_of_detail_before_a_tensor_are_stepped_over():
    data = record(FLOAT32, (2,), lod=(bytes(16), bytes(24)))
    assert check(program({"w": (FLOAT32, (2,))}), data)["w"].end == len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no weights at all, but long enough", "version"),
        (struct.pack("<IQIi", 0, 0, 7, 0), "tensor of version 7"),
        (struct.pack("<IQIi", 0, 0, 0, -5), "record's head"),
        (struct.pack("<IQIi", 0, 0, 0, 2) + field(1, 99), "unknown type 99"),
        (struct.pack("<IQ", 0, 1 << 62), "record's head"),
        (struct.pack("<IQIi", 0, 0, 0, 13) + tensor_desc(FLOAT32, (-1,)), "needs"),
        (weights(PARAMETERS) + b"\0", "record's head"),
    ],
)
def test_weights_of_no_known_form_are_refused(data: bytes, message: str):
    with pytest.raises(ModelError, match=message):
        check(program(PARAMETERS), data)


@pytest.mark.parametrize("graph", [b"", b"\x0f\xff no model", b"\x08" + b"\xff" * 12, b"\x0a\x00"])
def test_what_is_no_program_is_refused(graph: bytes):
    with pytest.raises(ModelError, match=r"inference\.pdmodel is damaged or not whole"):
        check(graph, b"")


@pytest.mark.parametrize("graph", [b"{}", b"[1]", b'{"program": {"regions": [{"blocks": [{"ops": [{"#": "p"}]}]}]}}'])
def test_json_that_is_no_program_is_refused(graph: bytes):
    with pytest.raises(ModelError, match=r"inference\.json is no Paddle program"):
        check(graph, b"", "inference.json")


def test_reading_a_raw_directory_checks_it(tmp_path: Path):
    (tmp_path / "inference.pdmodel").write_bytes(program(PARAMETERS))
    (tmp_path / "inference.pdiparams").write_bytes(weights(PARAMETERS))
    assert model_files(tmp_path, "m").format == "paddle"
    (tmp_path / "inference.pdiparams").write_bytes(weights(PARAMETERS)[:-3])
    with pytest.raises(ModelError, match="9 bytes|not whole") as caught:
        model_files(tmp_path, "m")
    assert str(tmp_path) in caught.value.problem
