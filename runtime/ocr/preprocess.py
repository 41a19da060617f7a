"""From pictures to the tensors that det, cls and rec expect."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Tensor = NDArray[np.float32]

_STRIDE = 32  # det's total stride
# Sides that det is run at: those of scans, cards and photos with little to spare (docs/adr/0017)
_SIDES = (32, 64, 96, 160, 224, 320, 480, 640, 736, 800, 832, 960, 1152, 1216, 1280, 1440)
_WIDE_STEP = 320  # beyond them
# mean and spread of each channel that the networks were trained with (PaddleOCR, configs/det and configs/rec)
_DET_MEAN, _DET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LINE_MEAN, _LINE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
MAX_WIDTH = 3200  # of a line fed to rec, in pixels; longer ones are squeezed
_UPRIGHT_RATIO = 1.5  # a crop so much higher than wide holds a line that runs downwards


def det_size(height: int, width: int, *, limit_side: int, min_side: int) -> tuple[int, int]:
    """The size at which det sees a page.

    Small pages are enlarged until the shorter side has ``min_side``, if the longer one stays within ``limit_side``.
    Large ones shrink to as many pixels as a square of ``limit_side`` has: by area and not by the longer side, since a
    long strip with two lines of small print costs little and would become unreadable.

    Returns:
        Height and width, multiples of 32.
    """
    enlarge = min(min_side / min(height, width), limit_side / max(height, width))
    scale = enlarge if enlarge > 1 else min(1.0, limit_side / math.sqrt(height * width))
    rows, columns = (max(1, round(side * scale / _STRIDE)) * _STRIDE for side in (height, width))
    return rows, columns


def det_room(size: tuple[int, int]) -> tuple[int, int]:
    """The least of the few sizes that det is run at that holds ``size``, height and width."""
    height, width = (
        next((room for room in _SIDES if room >= side), -(-side // _WIDE_STEP) * _WIDE_STEP) for side in size
    )
    return height, width


def det_tensor(image: Image, size: tuple[int, int], room: tuple[int, int] | None = None) -> Tensor:
    """Resize a page to ``size`` (height, width) and normalise it: (1, 3, H, W).

    H and W are those of ``room`` where given, with the page in the upper left and zero, as the network pads, elsewhere.
    """
    tensor = np.zeros((1, 3, *(room or size)), np.float32)
    resized = cv2.resize(image, size[::-1], interpolation=_interpolation(image, size))
    _normalise(resized, _DET_MEAN, _DET_STD, tensor[0, :, : size[0], : size[1]])
    return tensor


def line_tensor(crops: list[Image], height: int, width: int, *, room: int | None = None) -> Tensor:
    """Crops of one line each, scaled to ``height``, left-aligned: (N, 3, height, width), zero where nothing is.

    A crop that would be wider than ``width`` is squeezed. N is ``room`` where given, else the number of crops.
    """
    tensor = np.zeros((room or len(crops), 3, height, width), np.float32)
    for row, crop in zip(tensor, crops, strict=False):
        fitted = min(width, line_width(crop, height))
        if crop.shape[:2] != (height, fitted):
            crop = cv2.resize(crop, (fitted, height), interpolation=_interpolation(crop, (height, fitted)))
        _normalise(crop, _LINE_MEAN, _LINE_STD, row[:, :, :fitted])
    return tensor


def line_width(crop: Image, height: int) -> int:
    """Width of a crop scaled to ``height``, in pixels."""
    return min(MAX_WIDTH, max(1, -(-crop.shape[1] * height // crop.shape[0])))


def upright(crop: Image) -> Image:
    """Turn a crop against the clock when its line runs downwards."""
    return np.rot90(crop) if crop.shape[0] >= _UPRIGHT_RATIO * crop.shape[1] else crop


def reading_box(box: Tensor) -> Tensor:
    """Let a det box begin where its line does: one much higher than wide begins at its right upper corner."""
    width, height = np.linalg.norm(box[1] - box[0]), np.linalg.norm(box[3] - box[0])
    return np.roll(box, -1, axis=0) if height >= _UPRIGHT_RATIO * width else box


def cut_line(image: Image, box: Tensor) -> Image:
    """Rectify the rotated rectangle ``box`` at its own size.

    Small print enlarged here, smoothly, instead of later as in rec's training, was read worse.

    Args:
        image: The page.
        box: (4, 2), clockwise from where the line begins; may reach over the page's edge, which is then repeated.
    """
    across, down = (max(1, round(float(np.linalg.norm(box[corner] - box[0])))) for corner in (1, 3))
    target = np.array([(0, 0), (across, 0), (0, down)], np.float32)
    # OpenCV puts pixel centres at whole numbers, boxes count from the pixels' edges
    matrix = cv2.getAffineTransform(box[[0, 1, 3]] - 0.5, target - 0.5)
    crop = cv2.warpAffine(image, matrix, (across, down), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def _normalise(image: Image, mean: tuple[float, ...], std: tuple[float, ...], out: Tensor) -> None:
    """Write (pixel / 255 - mean) / std of a (H, W, 3) picture into ``out`` (3, H, W)."""
    for channel, plane in enumerate(cv2.split(image)):  # numpy takes twice as long over every third byte
        np.subtract(plane, np.float32(255 * mean[channel]), out=out[channel], dtype=np.float32)
        out[channel] *= np.float32(1 / (255 * std[channel]))


def _interpolation(image: Image, size: tuple[int, int]) -> int:
    shrinks = size[0] * 2 < image.shape[0] or size[1] * 2 < image.shape[1]
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
