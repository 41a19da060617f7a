"""The wire format of Protocol Buffers, as far as looking into a model's file needs it: no schema, no copies.

Source: "Encoding", protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field, in order: integers as they are, everything of a length as a view of its bytes.

    Raises:
        ValueError: The message ends within a field, or is no message at all.
    """
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = varint(message, place)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, place = varint(message, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type {kind} is not in use")
        if place + size > len(message):
            raise ValueError("it ends in the middle of a field")
        yield tag >> 3, message[place : place + size]
        place += size


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """The integer at ``place``, and where it ends.

    Raises:
        ValueError: The message ends within it, or it is longer than 64 bits.
    """
    value = shift = 0
    while shift < 70:
        if place >= len(message):
            raise ValueError("it ends in the middle of a number")
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("a number has more than 64 bits")
