"""What a phone does to a paper: a tilted, slightly blurred, unevenly lit picture, with the truth boxes moved along."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from examples.documents.sheet import Line, ordered

DESKS = ((96, 78, 62), (70, 74, 80), (150, 140, 126), (60, 84, 96), (176, 170, 160))


def phone(
    picture: Image.Image, lines: Sequence[Line], rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[Image.Image, tuple[Line, ...]]:
    """Photograph ``picture`` lying on a desk.

    Args:
        picture: The paper, RGB.
        lines: Its text lines.
        rng: The only source of chance.
        strength: 0 leaves geometry and light alone, 1 is an ordinary phone picture, 2 a careless one.

    Returns:
        The photograph (RGB, a little larger than the paper) and the lines where they now are.
    """
    width, height = picture.size
    edge = round(0.04 * max(width, height))
    out_width, out_height = width + 2 * edge, height + 2 * edge
    matrix = _homography(width, height, edge, rng, strength)

    desk = np.empty((out_height, out_width, 3), np.float32)
    desk[:] = DESKS[int(rng.integers(len(DESKS)))]
    # A coarse grain, so that the desk is not a flat area no camera would see.
    grain = rng.normal(0, 7, (out_height // 8 + 1, out_width // 8 + 1)).astype(np.float32)
    desk += cv2.resize(grain, (out_width, out_height), interpolation=cv2.INTER_CUBIC)[..., None]

    paper = cv2.warpPerspective(np.asarray(picture), matrix, (out_width, out_height), flags=cv2.INTER_AREA)
    inside = cv2.warpPerspective(np.full((height, width), 255, np.uint8), matrix, (out_width, out_height))
    share = (inside.astype(np.float32) / 255)[..., None]
    scene = paper.astype(np.float32) * share + desk * (1 - share)

    scene *= _light(out_height, out_width, rng, strength)[..., None]
    scene *= 1 + rng.uniform(-0.04, 0.04, 3).astype(np.float32) * strength  # white balance
    scene = cv2.GaussianBlur(scene, (0, 0), 0.25 + 0.3 * strength * float(rng.uniform(0.4, 1.0)))
    scene += rng.normal(0, 1 + 2.2 * strength, scene.shape).astype(np.float32)
    photograph = Image.fromarray(np.clip(scene, 0, 255).astype(np.uint8))

    moved = []
    for line in lines:
        corners = np.asarray(line.box, np.float32).reshape(1, 4, 2)
        points = cv2.perspectiveTransform(corners, matrix)[0].tolist()
        moved.append(Line(line.text, ordered((p[0], p[1]) for p in points)))
    return photograph, tuple(moved)


def _homography(width: int, height: int, edge: int, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Return the 3x3 matrix of a turn of a few degrees and a perspective, kept inside the photograph."""
    angle = np.radians(float(rng.uniform(-2.2, 2.2)) * strength)
    centre = np.array([width / 2, height / 2])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    seen = (corners - centre) @ turn.T + centre
    seen += rng.uniform(-0.012, 0.012, (4, 2)) * max(width, height) * strength
    # Shrink what would leave the photograph: a cut-off line has no truth.
    room = np.array([width + 2 * edge, height + 2 * edge]) - 4
    low, high = seen.min(axis=0), seen.max(axis=0)
    factor = min(1.0, float((room / (high - low)).min()))
    seen = (seen - (low + high) / 2) * factor + room / 2 + 2
    return cv2.getPerspectiveTransform(corners.astype(np.float32), seen.astype(np.float32))


def _light(height: int, width: int, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Return (height, width) factors: a slope of light and the soft shadow of a hand."""
    ys, xs = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    direction = float(rng.uniform(0, 2 * np.pi))
    slope = (xs - 0.5) * np.cos(direction) + (ys - 0.5) * np.sin(direction)
    light = 1 - 0.02 * strength + 0.16 * strength * slope
    cx, cy, radius = rng.uniform(0, 1, 3)
    distance = np.hypot(xs - cx, ys - cy) / (0.25 + 0.4 * radius)
    shadow = 1 - 0.22 * strength * np.exp(-(distance**4))
    return (light * shadow).astype(np.float32)
