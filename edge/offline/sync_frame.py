"""The frame in which messages and answers travel: zstd over ``EKS1``, an Ed25519 signature, and what it signs."""

from __future__ import annotations

import zstandard

# what reading JSON of another form leads to: also Infinity for a whole number, the year 0, thousands of brackets
MALFORMED = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)

_MAGIC = b"EKS1"
_SIGNATURE_BYTES = 64
_LEVEL = 6  # of zstd; lines of JSON shrink to a third, what is sealed not at all


def pack_frame(signature: bytes, body: bytes) -> bytes:
    """Compress what was signed, its signature before it."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(_MAGIC + signature + body)


def unpack_frame(data: bytes, limit: int) -> tuple[bytes, bytes]:
    """Signature and signed bytes of a frame; never more than ``limit`` bytes in memory, whatever ``data`` says.

    Raises:
        ValueError: It is none, or is too large. Nobody has checked the signature of one that is.
    """
    try:
        with zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).stream_reader(data) as reader:
            frame = reader.read(limit + 1)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    if len(frame) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    if not frame.startswith(_MAGIC) or len(frame) < len(_MAGIC) + _SIGNATURE_BYTES:
        raise ValueError("it does not begin as one")
    start = len(_MAGIC)
    return frame[start : start + _SIGNATURE_BYTES], frame[start + _SIGNATURE_BYTES :]
