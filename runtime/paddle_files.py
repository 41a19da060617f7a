"""Whether the two files of a Paddle model are whole and belong together.

Paddle loads a ``.pdiparams`` that lacks its last bytes, or that belongs to another model, without a word, and gives
wrong numbers. ``check_paddle_files`` walks both files to their ends in plain Python, without copying weights.

A ``.pdiparams`` is one record a parameter, in the order of their names, which it does not hold (Paddle's
``SerializeToStream``): uint32 version, uint64 count of LoD levels, each a uint64 size and as many bytes; uint32
version, int32 size of a TensorDesc (protobuf: 1 type, 2 dimensions), the TensorDesc, the values; little-endian.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devices.errors import ModelError
from runtime.protobuf import fields, varint

# framework.proto, VarType.Type: the types that a parameter may have, and the bytes of one value
_TYPES = {
    0: ("bool", 1),
    1: ("int16", 2),
    2: ("int32", 4),
    3: ("int64", 8),
    4: ("float16", 2),
    5: ("float32", 4),
    6: ("float64", 8),
    20: ("uint8", 1),
    21: ("int8", 1),
    22: ("bfloat16", 2),
    23: ("complex64", 8),
    24: ("complex128", 16),
}
_DENSE = 7  # VarType.Type of a variable that holds a tensor, and not a queue of feeds or fetches
_PIR_TYPES = {
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "bf16": "bfloat16",
    "i8": "int8",
    "ui8": "uint8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "bool": "bool",
    "c64": "complex64",
    "c128": "complex128",
}
_REMEDY = "Copy the model's two files again, both from the same place."


@dataclass(frozen=True)
class Parameter:
    """What a parameter is: its type by numpy's name, and its shape."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True)
class Stored(Parameter):
    """A parameter with the place of its values in the file, in bytes."""

    start: int
    end: int


def check_paddle_files(graph: bytes, weights: bytes, *, pir: bool, origin: str) -> dict[str, Stored]:
    """Read both files to their ends and compare what one declares with what the other holds.

    Args:
        graph: ``inference.pdmodel``, or ``inference.json`` where ``pir`` is true.
        weights: ``inference.pdiparams``.
        pir: Which of the two ``graph`` is.
        origin: The model's directory, for messages.

    Returns:
        The parameters by name, in the file's order.

    Raises:
        ModelError: A file is cut short or damaged, or they belong to two models; the parameter is named.
    """
    name = "inference.json" if pir else "inference.pdmodel"
    try:
        declared = dict(sorted((_declared_json if pir else _declared_program)(graph).items()))
    except ValueError as error:
        raise ModelError(
            f"{origin}/{name} is damaged or not whole ({len(graph):,} bytes): {error}.", remedy=_REMEDY
        ) from error
    except (KeyError, IndexError, TypeError) as error:
        raise ModelError(f"{origin}/{name} is no Paddle program: {error!r}.", remedy=_REMEDY) from error
    stored: list[Stored] = []
    try:
        stored += _records(weights)
    except ValueError as error:
        raise ModelError(
            f"{origin}/inference.pdiparams is damaged or not whole: its {len(weights):,} bytes end or break off at "
            f"parameter {len(stored) + 1}{_name_of(declared, len(stored))} of {len(declared)}: {error}.",
            remedy=_REMEDY,
        ) from error
    for (parameter, want), have in zip(declared.items(), stored, strict=False):
        if not _same(want, have):
            raise ModelError(
                f"{origin}/inference.pdiparams does not belong to {name}: parameter {parameter!r} is declared as "
                f"{want}, but {have} is stored in its place.",
                remedy=_REMEDY,
            )
    if len(stored) != len(declared):
        raise ModelError(
            f"{origin}/inference.pdiparams does not belong to {name}, or is not whole: {len(declared)} parameters are "
            f"declared{_name_of(declared, len(stored), 'from {} on they are missing')}, {len(stored)} are stored.",
            remedy=_REMEDY,
        )
    return dict(zip(declared, stored, strict=True))


def _name_of(declared: dict[str, Parameter], index: int, words: str = "{}") -> str:
    names = list(declared)
    return f" ({words.format(repr(names[index]))})" if index < len(names) else ""


def _same(want: Parameter, have: Parameter) -> bool:
    """Whether a declaration allows what is stored.

    A free dimension fits any size. PaddleSlim leaves a weight's declaration as it was when it stores int8 instead, and
    stores scales with a dimension of 1 more than it declares; a scalar, too, may be declared as one value.
    """
    sides = [[side for side in each.shape if side != 1] for each in (want, have)]
    return (
        have.dtype in (want.dtype, "int8")
        and len(sides[0]) == len(sides[1])
        and all(a in (-1, b) for a, b in zip(*sides, strict=True))
    )


def _records(data: bytes) -> Iterator[Stored]:
    view, place = memoryview(data), 0

    def number(code: str) -> int:
        nonlocal place
        size = struct.calcsize(code)
        if place + size > len(view):
            raise ValueError("it ends in the middle of a record's head")
        (value,) = struct.unpack_from(code, view, place)
        place += size
        return int(value)

    while place < len(view):
        if version := number("<I"):
            raise ValueError(f"a record of version {version} was found; only 0 is known")
        for _ in range(number("<Q")):
            size = number("<Q")
            place += size
        if version := number("<I"):
            raise ValueError(f"a tensor of version {version} was found; only 0 is known")
        size = number("<i")
        if size < 0 or place + size > len(view):
            raise ValueError("it ends in the middle of a record's head")
        parameter, value_bytes = _tensor(view[place : place + size])
        start = place + size
        place = start + math.prod(parameter.shape) * value_bytes
        if min(parameter.shape, default=0) < 0 or place > len(view):
            raise ValueError(f"{parameter} needs {place - start:,} bytes, {len(view) - start:,} are left")
        yield Stored(parameter.dtype, parameter.shape, start, place)


def _tensor(message: memoryview) -> tuple[Parameter, int]:
    """A TensorDesc: what it describes, and the bytes of one value."""
    code, shape = -1, []
    for number, value in fields(message):
        if number == 1 and isinstance(value, int):
            code = value
        elif number == 2:
            shape += [_signed(value)] if isinstance(value, int) else _packed(value)
    if code not in _TYPES:
        raise ValueError(f"a tensor of the unknown type {code}")
    dtype, size = _TYPES[code]
    return Parameter(dtype, tuple(shape)), size


def _packed(values: memoryview) -> list[int]:
    found, place = [], 0
    while place < len(values):
        value, place = varint(values, place)
        found.append(_signed(value))
    return found


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _part(message: memoryview, *path: int) -> memoryview | None:
    """The message that lies within others at these field numbers."""
    for wanted in path:
        found = [value for number, value in fields(message) if number == wanted and isinstance(value, memoryview)]
        if not found:
            return None
        message = found[-1]
    return message


def _declared_program(graph: bytes) -> dict[str, Parameter]:
    """The persistable tensors of a ProgramDesc (framework.proto: blocks 1, version 4; of a block, vars 3)."""
    declared: dict[str, Parameter] = {}
    parts = list(fields(memoryview(graph)))
    if not any(number == 1 for number, _ in parts) or parts[-1][0] == 1:
        raise ValueError("the program's end is missing")  # its version, which every Paddle writes, comes last
    for number, block in parts:
        if number != 1 or not isinstance(block, memoryview):
            continue
        for number_in_block, variable in fields(block):
            if number_in_block == 3 and isinstance(variable, memoryview):
                declared |= _variable(variable)
    return declared


def _variable(message: memoryview) -> dict[str, Parameter]:
    """A VarDesc (1 name, 2 type, 3 persistable) if it is a parameter; within its type, 1 kind and 3.1 the tensor."""
    known = dict(fields(message))
    name, kind = known.get(1), known.get(2)
    if not known.get(3) or not isinstance(name, memoryview) or not isinstance(kind, memoryview):
        return {}
    tensor = _part(kind, 3, 1)
    if dict(fields(kind)).get(1) != _DENSE or tensor is None:
        return {}
    return {bytes(name).decode(): _tensor(tensor)[0]}


def _declared_json(graph: bytes) -> dict[str, Parameter]:
    """The ``builtin.parameter`` operations of a PIR program, which its JSON abbreviates to ``p``."""
    program: dict[str, Any] = json.loads(graph)["program"]
    operations = [each for region in program["regions"] for block in region["blocks"] for each in block["ops"]]
    declared = {}
    for each in operations:
        if each["#"] != "p":
            continue
        kind, shape = each["O"]["TT"]["D"][:2]
        short = kind["#"].partition(".t_")[2]
        declared[str(each["A"][3])] = Parameter(_PIR_TYPES.get(short, short), tuple(map(int, shape)))
    return declared
