"""Golden outputs of heads for texts and for tokens: what drifts or decides differently is found in either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.errors import ParityError
from runtime.choice import Golden, check_parity
from runtime.predictor import Backend, TensorSpec


@dataclass
class Fixed:
    """Gives the same outputs whatever it is fed."""

    logits: NDArray[np.float32]
    name: str = "m"
    backend: Backend = "openvino"
    precision: str = "fp32"
    sha256: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def run(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        return {"logits": self.logits}


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3)], ids=["texts", "tokens"])
def test_drift_and_flips_are_found_in_every_row(shape: tuple[int, ...]) -> None:
    expected = np.zeros(shape, np.float32)
    expected[..., 1] = 1.0
    golden = Golden({"input_ids": np.zeros(shape[:2], np.int64)}, {"logits": expected})
    check_parity(Fixed(expected + 0.1), golden, tolerance=0.2)
    last = (-1,) * (len(shape) - 1)
    drifted = expected.copy()
    drifted[(*last, 0)] = 0.3
    with pytest.raises(ParityError, match="differ from the golden ones by 0.3"):
        check_parity(Fixed(drifted), golden, tolerance=0.2)
    flipped = expected.copy()
    flipped[(*last, 0)], flipped[(*last, 1)] = 0.6, 0.5
    with pytest.raises(ParityError, match="decides 1 of the golden rows differently"):
        check_parity(Fixed(flipped), golden, tolerance=0.7)
    with pytest.raises(ParityError, match="another shape"):
        check_parity(Fixed(expected[:1]), golden, tolerance=0.2)
