"""Laws with known answers for the tests."""

import math

import numpy as np


def ar1(num_series, length, channels, phi, seed):
    """Independent stationary AR(1) channels of unit variance, ``(n, T, C)``."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num_series, length, channels))
    for t in range(1, length):
        x[:, t] = phi * x[:, t - 1] + math.sqrt(1 - phi**2) * x[:, t]
    return x.astype(np.float32)


def ar1_total_correlation(length, channels, phi):
    """``-(T - 1)/2 ln(1 - phi^2)`` nats per channel."""
    return -0.5 * (length - 1) * channels * math.log(1 - phi**2)
