"""Pictures as branches really get them: faded, blurred, dark, small, on patterned paper. All of it invented.

The tidy pictures of ``draw.py`` are read almost without a fault, so they cannot tell a model that lost something from
one that lost nothing. These can.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from PIL import Image

from examples.documents import invent, notice
from examples.documents.render import (
    Rendering,
    render_id_card,
    render_income_proof,
    render_sheet,
    render_statement,
)

QUALITY = 40  # JPEG, as messengers send it


@dataclass(frozen=True)
class Wear:
    """What happened to a paper and to its picture.

    Attributes:
        ink: Contrast that is left between ink and paper, 0 to 1.
        pattern: Swing of the waves printed under the text, of 255.
        motion: Length of the shake of a hand, in pixels.
        defocus: Standard deviation of the blur, in pixels.
        light: Brightness, 1 as it should be.
        noise: Standard deviation of the sensor's noise, of 255.
        strength: As for ``examples.documents.damage.phone``: how skew and unevenly lit.
    """

    ink: float = 1.0
    pattern: float = 0.0
    motion: float = 0.0
    defocus: float = 0.0
    light: float = 1.0
    noise: float = 3.0
    strength: float = 1.4

    def on(self, clear: Rendering, rng: np.random.Generator) -> Rendering:
        """The same paper, worn and photographed."""
        paper = np.asarray(clear.picture, np.float32)
        paper = np.median(paper, axis=(0, 1)) * (1 - self.ink) + paper * self.ink
        paper += _waves(paper.shape[:2], rng)[..., None] * self.pattern * rng.uniform(0.3, 1.0, 3)
        shot = replace(clear, picture=_picture(paper)).photographed(rng, strength=self.strength)
        scene = np.asarray(shot.picture, np.float32) * self.light
        if self.motion:
            scene = cv2.filter2D(scene, -1, _shake(self.motion, float(rng.uniform(0, np.pi))))
        if self.defocus:
            scene = cv2.GaussianBlur(scene, (0, 0), self.defocus)
        coarse = rng.normal(0, self.noise, (*scene.shape[:2], 1)) + rng.normal(0, self.noise / 2, scene.shape)
        return replace(shot, picture=_picture(scene + coarse))


def pages(rng: np.random.Generator) -> Iterator[tuple[str, Rendering]]:
    """Yield 12 pictures with their names."""
    faded = Wear(ink=0.4, defocus=0.6, strength=1.2)
    yield "slip", faded.on(render_sheet(notice.slip(rng), scale=1.3), rng)
    account = invent.statement(rng, rows=22)
    small = render_statement(account, layout="two_columns", rows_per_page=11, cut=True, scale=1.1)[0]
    yield "statement_0", Wear(noise=5, defocus=0.5, strength=0.8).on(small, rng)
    account = invent.statement(rng, rows=20)
    skew = render_statement(account, layout="signed", rows_per_page=10, cut=True, scale=1.25)[1]
    yield "statement_1", Wear(ink=0.6, motion=1.8, strength=1.7).on(skew, rng)
    card = render_id_card(invent.card(rng), layout="standard", sides="both", scale=0.72)
    yield "id_0", Wear(pattern=16, defocus=0.6, strength=1.6).on(card, rng)
    card = render_id_card(invent.card(rng), layout="mirrored", sides="front", scale=0.8)
    yield "id_1", Wear(light=0.42, noise=7, strength=1.2).on(card, rng)
    proof = render_income_proof(invent.proof(rng), layout="letter", scale=1.0)
    yield "income_0", Wear(pattern=14, motion=2.2, noise=4).on(proof, rng)
    proof = render_income_proof(invent.proof(rng), layout="form", scale=0.95)
    yield "income_1", Wear(ink=0.5, light=0.7, noise=5, strength=1.8).on(proof, rng)
    yield "form", Wear(pattern=22, defocus=0.7).on(render_sheet(notice.application_form(rng), scale=0.9), rng)
    sheet = notice.notice(rng, paper=(196, 160, 96), ink=(236, 214, 168), lines=5)
    yield "notice_0", Wear(noise=5, defocus=0.6).on(render_sheet(sheet, scale=1.0), rng)
    sheet = notice.notice(rng, paper=(64, 70, 88), ink=(128, 134, 150), lines=4)
    yield "notice_1", Wear(pattern=10, light=0.8, noise=6).on(render_sheet(sheet, scale=1.0), rng)
    yield (
        "prose",
        Wear(ink=0.55, motion=1.8, strength=1.6).on(render_sheet(notice.prose(rng, clauses=6), scale=1.1), rng),
    )
    yield "badge", Wear(pattern=18, defocus=0.9, light=0.8).on(render_sheet(notice.badge(rng), scale=1.0), rng)


def _waves(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(H, W) in -1 to 1: the crossing lines that security paper is printed with."""
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    length, bend = float(rng.uniform(9, 15)), float(rng.uniform(40, 90))
    first = np.sin((xs + 8 * np.sin(ys / bend)) * 2 * np.pi / length)
    return np.asarray(first * np.sin((ys + 6 * np.sin(xs / bend)) * 2 * np.pi / (1.3 * length)))


def _shake(length: float, angle: float) -> np.ndarray:
    """A line of ``length`` pixels as a kernel whose values sum to 1."""
    half = int(np.ceil(length / 2)) + 1
    ys, xs = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32)
    along, across = xs * np.cos(angle) + ys * np.sin(angle), xs * np.sin(angle) - ys * np.cos(angle)
    kernel = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    return np.asarray(kernel / kernel.sum())


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
