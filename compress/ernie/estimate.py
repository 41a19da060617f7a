"""Roughly how long a step will take, from the arithmetic in it and this machine's measured speed.

A network does two operations for each of its weights and tokens forwards, and twice as many again backwards
(Kaplan et al., arXiv:2001.08361). What share of a plain matrix product's speed it reaches was measured once on two
cores of an EPYC with ERNIE 4L312H and 12L768H; on other machines the estimate is right within a factor of two or so.
"""

from __future__ import annotations

import time

import numpy as np

from compress.ernie.checkpoint import ErnieConfig

_TRAINING_SHARE, _SERVING_SHARE = 0.30, 0.6  # of a matrix product's speed
_SIDE = 1024
_CALIBRATION_TOKENS, _DEV_TOKENS = 128 * 128, 64
_LOADING_S = 8.0  # export, conversion and compilation of a small network


def machine_flops() -> float:
    """Operations a second that a FP32 matrix product reaches on this machine now; takes a fraction of a second."""
    left = np.random.default_rng(0).random((_SIDE, _SIDE), np.float32)
    left @ left  # the first product starts the threads
    times = []
    for _ in range(5):
        start = time.perf_counter()
        left @ left
        times.append(time.perf_counter() - start)
    return 2 * _SIDE**3 / sorted(times)[2]


def weights_in_products(config: ErnieConfig) -> int:
    """Weights that every token is multiplied with: the encoder's, without embeddings."""
    return config.num_hidden_layers * (4 * config.hidden_size**2 + 2 * config.hidden_size * config.intermediate_size)


def serving_seconds(config: ErnieConfig, tokens: int, flops: float) -> float:
    """One pass of ``tokens`` through the network in FP32."""
    return 2 * weights_in_products(config) * tokens / (_SERVING_SHARE * flops)


def training_seconds(config: ErnieConfig, tokens: int, flops: float) -> float:
    """One pass of ``tokens`` forwards and backwards."""
    return 6 * weights_in_products(config) * tokens / (_TRAINING_SHARE * flops)


def measuring_seconds(config: ErnieConfig, dev_texts: int, flops: float, *, int8: bool) -> float:
    """Export, quantization, dev and timing of one network."""
    calibrated = _CALIBRATION_TOKENS if int8 else 0
    passes = serving_seconds(config, 2 * dev_texts * _DEV_TOKENS + 4 * calibrated, flops)
    return passes + _LOADING_S * (1 + weights_in_products(config) / 4e7) * (2 if int8 else 1)
