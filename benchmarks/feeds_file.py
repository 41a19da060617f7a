"""Calibration data as a file between the kit's environment and a peer's; needs numpy alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_feeds(file: Path, feeds: Sequence[Mapping[str, NDArray[Any]]]) -> None:
    """Write ``feeds``, each a tensor for every input of a model, by name."""
    np.savez(file, **{f"{number}/{name}": array for number, feed in enumerate(feeds) for name, array in feed.items()})


def read_feeds(file: str | Path) -> list[dict[str, NDArray[Any]]]:
    """What ``write_feeds`` wrote."""
    found: dict[str, dict[str, NDArray[Any]]] = {}
    with np.load(file) as arrays:
        for key in arrays.files:
            number, name = key.split("/", 1)
            found.setdefault(number, {})[name] = arrays[key]
    return list(found.values())
