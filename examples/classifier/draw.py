"""Invented pictures of print for the classifier: 32 x 32 grey pixels that are sharp, blurred, or in part covered.

    python -m examples.classifier.draw --out photo-cases.npz

writes cases for ``edgekit compress model``. Needs NumPy alone, as ``export.py`` does beside PyTorch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = ("sharp", "blurred", "covered")
SIDE = 32
CASES = 96


def pictures(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures (count, 1, 32, 32), paper 1.0 and ink 0.0, and the class of each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(CLASSES), count)
    return np.stack([_picture(rng, int(label)) for label in labels])[:, None], labels


def _picture(rng: np.random.Generator, label: int) -> NDArray[np.float32]:
    page = np.ones((SIDE, SIDE))
    for top in range(int(rng.integers(1, 4)), SIDE - 4, int(rng.integers(6, 9))):  # lines of strokes
        page[top : top + 4] = rng.random((4, SIDE)) > 0.45
    if label == 1:
        for _ in range(int(rng.integers(2, 5))):  # a box filter of three, a few times: nearly Gaussian
            page = sum(np.roll(page, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1)) / 9
    if label == 2:
        y, x = rng.integers(0, SIDE // 2, 2)
        page[y : y + SIDE // 2, x : x + SIDE // 2] = rng.uniform(0.2, 0.8)  # a finger
    light = rng.uniform(0.6, 1.0) + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, SIDE)
    return np.clip(page * light + rng.normal(0, 0.03, page.shape), 0, 1).astype(np.float32)


def main() -> None:
    """Write the cases."""
    parser = argparse.ArgumentParser(prog="examples.classifier.draw", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    images, _ = pictures(CASES, seed=3)
    np.savez_compressed(parser.parse_args().out, image=images)


if __name__ == "__main__":
    main()
